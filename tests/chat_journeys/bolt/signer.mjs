// Sends what Slack would send, as somebody would who has Slack's documentation and nothing of ours: node's own crypto
// signs it, and Bolt for JavaScript says whether it would take it.
//
//   node signer.mjs      a line of JSON for each request on standard input, one for its answer; ends when that does
//
//   {"url", "secret", "signed_with", "fields" or "json", "at", "change": {"body", "at", "signature", "drop"}}
//   → {"bolt": whether Bolt's verifier agrees, "status", "text"}
//
// `fields` becomes a form, `json` a JSON body; `at` is the time in seconds (default: now). `secret` is what Bolt checks
// with, and what it is signed with where `signed_with` is left out. What `change` names is altered after signing: a text
// of the body replaced by another, the time shifted, the signature replaced, headers left out.

import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";

import bolt from "@slack/bolt";

async function send({ url, secret, signed_with = secret, fields, json, at = Math.floor(Date.now() / 1000), change = {} }) {
  const signed = json === undefined ? new URLSearchParams(fields).toString() : JSON.stringify(json);
  const hash = createHmac("sha256", signed_with).update(`v0:${at}:${signed}`).digest("hex");
  const body = change.body ? signed.replace(...change.body) : signed;
  if (change.body && body === signed) throw new Error(`there is no ${change.body[0]} in ${signed}`);
  const headers = {
    "content-type": json === undefined ? "application/x-www-form-urlencoded" : "application/json",
    "x-slack-request-timestamp": String(at + (change.at ?? 0)),
    "x-slack-signature": change.signature ?? `v0=${hash}`,
  };
  for (const name of change.drop ?? []) delete headers[name];
  const agrees = bolt.isValidSlackRequest({
    signingSecret: secret,
    body,
    headers: { ...headers, "x-slack-request-timestamp": Number(headers["x-slack-request-timestamp"]) },
  });
  const answer = await fetch(url, { method: "POST", headers, body, redirect: "error" });
  return { bolt: agrees, status: answer.status, text: await answer.text() };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await send(JSON.parse(line))));
}
