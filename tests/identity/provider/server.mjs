// An OpenID provider on loopback that tests drive: `oidc-provider`, with people, clients and keys that can be changed.
//
//   node server.mjs [PORT]      prints one line of JSON with its issuer; ends when its standard input does
//
// Tests change it over HTTP:
//   PUT  /control/users/SUB       claims of a person, e.g. {"name": "Ana", "groups": ["sre"]}
//   PUT  /control/clients/ID      client metadata as in OpenID Connect Dynamic Client Registration
//   PUT  /control/exchange        {"issuer", "jwks_uri", "rules": [{"sub", "audience", "scope"}]}: see exchange.mjs
//   POST /control/rotate          a new signing key; {"keep": true} publishes the ones before it as well
//   GET  /control/exchanged       the subject tokens that were exchanged, by their claims
//
// Everybody's password is `right`; with a one-time code (`123456`) a sign-in reaches acr `urn:test:strong`.

import { createServer } from "node:http";
import { once } from "node:events";
import { randomUUID } from "node:crypto";

import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

import { adapterOver } from "./adapter.mjs";
import { exchangeGrant, GRANT as EXCHANGE } from "./exchange.mjs";
import { consentGiven, interact } from "./pages.mjs";

const rows = new Map();
const users = new Map();
const exchange = { issuer: "", jwks_uri: "", rules: [], seen: [] };
const cookieKeys = [randomUUID()];
let keys = [];
let answer;

async function addKey() {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true });
  keys.unshift({ ...(await exportJWK(privateKey)), kid: randomUUID(), alg: "RS256", use: "sig" });
}

// The provider reads keys once, when it is made; so a rotation makes another one over the same rows.
function serve(issuer) {
  const page = (ctx, body) => {
    ctx.type = "html";
    ctx.body = `<!doctype html><html lang="en"><title>Provider</title><main>${body}</main></html>`;
  };
  const provider = new Provider(issuer, {
    adapter: adapterOver(rows),
    jwks: { keys },
    cookies: { keys: cookieKeys },
    scopes: ["openid", "offline_access"],
    claims: {
      openid: ["sub"],
      profile: ["name", "preferred_username"],
      email: ["email", "email_verified"],
      groups: ["groups", "realm_access"],
      acr: null,
      amr: null,
      auth_time: null,
      sid: null,
    },
    conformIdTokenClaims: false, // claims of scopes stand in the id_token, as most companies' providers have it
    acrValues: ["urn:test:password", "urn:test:strong"],
    clientBasedCORS: () => false,
    pkce: { required: () => true, methods: ["S256"] },
    issueRefreshToken: async (ctx, client, code) =>
      client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
    findAccount: async (ctx, sub) =>
      users.has(sub) ? { accountId: sub, claims: async () => ({ sub, ...users.get(sub) }) } : undefined,
    loadExistingGrant: consentGiven,
    extraTokenClaims: async (ctx, token) => (token.accountId ? users.get(token.accountId) : undefined),
    renderError: (ctx, out) => {
      ctx.type = "text";
      ctx.body = Object.values(out).join(" ");
    },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) =>
          page(ctx, `${form}<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`),
        postLogoutSuccessSource: (ctx) => page(ctx, "<p>Signed out.</p>"),
      },
      deviceFlow: {
        enabled: true,
        mask: "****-****",
        userCodeInputSource: (ctx, form, out, err) =>
          page(ctx, `${err ? "<p>No such code.</p>" : ""}${form}<button form="op.deviceInputForm">Go on</button>`),
        userCodeConfirmSource: (ctx, form, client, device, code) =>
          page(ctx, `<p>${client.clientId} ${code}</p>${form}<button form="op.deviceConfirmForm">Allow</button>`),
        successSource: (ctx) => page(ctx, "<p>Go back to your device.</p>"),
      },
      resourceIndicators: {
        enabled: true,
        // Whatever is asked for gets JWTs (RFC 9068) of its own audience; nothing is granted without being asked for.
        getResourceServerInfo: (ctx, resource) => ({
          scope: "openid profile email groups",
          audience: resource,
          accessTokenTTL: 600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
        useGrantedResource: () => true,
      },
    },
  });
  provider.registerGrantType(EXCHANGE, exchangeGrant(exchange, issuer, () => keys[0]), [
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "audience",
    "scope",
  ]);
  const rest = provider.callback();
  answer = async (request, response) => {
    const path = new URL(request.url, issuer).pathname;
    if (path.startsWith("/control/")) await control(issuer, request, response, path);
    else if (path.startsWith("/interaction/")) await interact(provider, users, request, response);
    else if (path === "/favicon.ico") response.writeHead(204).end();
    else rest(request, response);
  };
}

async function control(issuer, request, response, path) {
  let text = "";
  for await (const part of request) text += part;
  const told = text ? JSON.parse(text) : {};
  const [, , what, name] = path.split("/").map(decodeURIComponent);
  let said = {};
  if (request.method === "PUT" && what === "users") users.set(name, told);
  else if (request.method === "PUT" && what === "clients") rows.set(`Client:${name}`, { client_id: name, ...told });
  else if (request.method === "PUT" && what === "exchange") Object.assign(exchange, told);
  else if (request.method === "GET" && what === "exchanged") said = exchange.seen;
  else if (request.method === "POST" && what === "rotate") {
    if (!told.keep) keys = [];
    await addKey();
    serve(issuer);
  } else response.statusCode = 404;
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify(said));
}

const server = createServer((request, response) =>
  answer(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  }),
);
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1");
await once(server, "listening");
const issuer = `http://127.0.0.1:${server.address().port}`;
await addKey();
serve(issuer);
console.log(JSON.stringify({ issuer }));
process.stdin.resume().on("end", () => process.exit());
