// The provider's sign-in page, and consent that every client has from the start: they are a company's own.

const escaped = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);

// GET /interaction/UID shows the form; POST takes it, with `cancel` for somebody who changes their mind.
export async function interact(provider, users, request, response) {
  const { uid, params } = await provider.interactionDetails(request, response);
  if (request.method === "GET") return show(response, 200, uid, params);
  let text = "";
  for await (const part of request) text += part;
  const form = new URLSearchParams(text);
  if (form.has("cancel")) {
    return provider.interactionFinished(request, response, { error: "access_denied" });
  }
  const sub = form.get("sub") ?? "";
  const code = form.get("code");
  if (!users.has(sub) || form.get("password") !== "right" || (code && code !== "123456")) {
    return show(response, 401, uid, params, "That is wrong.");
  }
  const strong = Boolean(code);
  return provider.interactionFinished(request, response, {
    login: {
      accountId: sub,
      acr: strong ? "urn:test:strong" : "urn:test:password",
      amr: strong ? ["pwd", "otp"] : ["pwd"],
    },
    consent: {}, // native clients, such as a command line, ask for it each time
  });
}

function show(response, status, uid, params, fault = "") {
  response.statusCode = status;
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(`<!doctype html><html lang="en"><head><meta name="viewport" content="width=device-width">
<title>Sign in</title></head><body><main><h1>Sign in to ${escaped(params.client_id)}</h1><p>${fault}</p>
<form method="post" action="/interaction/${escaped(uid)}">
<p><label>Name <input name="sub" autofocus autocomplete="off"></label></p>
<p><label>Password <input name="password" type="password"></label></p>
<p><label>One-time code <input name="code"></label></p>
<p><button>Sign in</button> <button name="cancel" value="yes">Cancel</button></p>
</form></main></body></html>`);
}

export async function consentGiven(ctx) {
  const { client, session, params, resourceServers, provider } = ctx.oidc;
  const given = ctx.oidc.result?.consent?.grantId ?? session.grantIdFor(client.clientId);
  const grant =
    (given && (await provider.Grant.find(given))) ??
    new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  if (grant.accountId !== session.accountId) return undefined;
  grant.addOIDCScope(params.scope ?? "openid");
  for (const resource of Object.keys(resourceServers ?? {})) grant.addResourceScope(resource, params.scope);
  await grant.save();
  return grant;
}
