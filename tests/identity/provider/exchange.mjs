// Token exchange (RFC 8693), which oidc-provider does not bring along: a run token becomes an access token.
//
// The run token is verified through its issuer's published keys; a rule names exactly what it may become. A rule's
// `sub` is compared as a whole, or up to its one `*`.

import { randomUUID } from "node:crypto";

import { createRemoteJWKSet, importJWK, jwtVerify, SignJWT } from "jose";
import { errors } from "oidc-provider";

export const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt";
const ACCESS_TYPE = "urn:ietf:params:oauth:token-type:access_token";
const LIFETIME = 120;

const fits = (pattern, value) => {
  const [start, end] = pattern.split("*");
  return end === undefined
    ? value === pattern
    : value.startsWith(start) && value.endsWith(end) && value.length >= start.length + end.length;
};

export function exchangeGrant(settings, issuer, signingKey) {
  return async function exchanged(ctx, next) {
    const { subject_token: token, subject_token_type: kind, audience, scope = "" } = ctx.oidc.params;
    if (!token || ![JWT_TYPE, "urn:ietf:params:oauth:token-type:id_token"].includes(kind)) {
      throw new errors.InvalidRequest("a subject_token that is a JWT is needed");
    }
    let claims;
    try {
      const keys = createRemoteJWKSet(new URL(settings.jwks_uri));
      const { issuer: runs } = settings;
      ({ payload: claims } = await jwtVerify(token, keys, { issuer: runs, audience: issuer, algorithms: ["RS256"] }));
    } catch (error) {
      throw new errors.InvalidGrant(`the subject_token cannot be believed: ${error.code ?? error.message}`);
    }
    const asked = scope.split(" ").filter(Boolean);
    const rule = settings.rules.find(
      (one) =>
        fits(one.sub, claims.sub) &&
        one.audience === audience &&
        asked.every((part) => one.scope.split(" ").includes(part)),
    );
    if (!rule) throw new errors.InvalidTarget("no rule lets this subject have that");
    settings.seen.push(claims);
    const granted = asked.length ? asked.join(" ") : rule.scope;
    const key = signingKey();
    const lifetime = rule.lifetime ?? LIFETIME;
    const access = await new SignJWT({ scope: granted, client_id: ctx.oidc.client.clientId, run_id: claims.run_id })
      .setProtectedHeader({ alg: "RS256", kid: key.kid, typ: "at+jwt" })
      .setIssuer(issuer)
      .setSubject(claims.sub)
      .setAudience(audience)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime(`${lifetime}s`)
      .sign(await importJWK(key, "RS256"));
    ctx.body = {
      access_token: access,
      issued_token_type: ACCESS_TYPE,
      token_type: "Bearer",
      expires_in: lifetime,
      scope: granted,
    };
    await next();
  };
}
