// An app in Bolt for JavaScript that takes what Slack's stand-in delivers, says so, and answers as apps do.
//
//   node app.mjs      settings as one line of JSON on standard input; ends when that does
//
//   {"api", "token", "secret"}                  HTTP: prints {"port"}, takes /slack/commands, /interactivity, /events
//   {"api", "token", "appToken", "socketApi"}   Socket Mode: prints {"connected": true}, takes the same there
//
// Then a line of JSON for each delivery that Bolt believed: {"command" | "button" | "shortcut" | "view" | "event", …}

import { once } from "node:events";
import { createInterface } from "node:readline";

import bolt from "@slack/bolt";

const lines = createInterface({ input: process.stdin });
const told = JSON.parse((await once(lines, "line"))[0]);
const say = (what) => console.log(JSON.stringify(what));
const clientOptions = { slackApiUrl: told.api };
const quiet = { logLevel: bolt.LogLevel.ERROR };

const receiver =
  told.appToken !== undefined
    ? new bolt.SocketModeReceiver({
        appToken: told.appToken,
        installerOptions: { clientOptions: { slackApiUrl: told.socketApi } },
        ...quiet,
      })
    : new bolt.HTTPReceiver({
        signingSecret: told.secret,
        endpoints: ["/slack/commands", "/slack/interactivity", "/slack/events"],
        ...quiet,
      });
const app = new bolt.App({
  receiver,
  clientOptions,
  authorize: async () => ({ botToken: told.token, botId: "B0BOLT", botUserId: "U0BOLT" }),
  ...quiet,
});

app.command("/runbook", async ({ command, ack, client }) => {
  say({ command: command.text, user: command.user_id, team: command.team_id, channel: command.channel_id });
  await ack({ response_type: "ephemeral", text: `Bolt took: ${command.text}` });
  await client.chat.postMessage({
    channel: command.channel_id,
    text: "Press it",
    blocks: [
      {
        type: "actions",
        block_id: "bolts",
        elements: [{ type: "button", action_id: "press", value: "pressed", text: { type: "plain_text", text: "Press" } }],
      },
    ],
  });
});
app.action("press", async ({ action, body, ack, respond }) => {
  await ack();
  await respond({ response_type: "ephemeral", text: `Bolt heard of ${action.value}` });
  say({ button: action.value, user: body.user.id, team: body.team.id });
});
app.shortcut("ask", async ({ shortcut, ack, client }) => {
  await ack();
  const input = { type: "plain_text_input", action_id: "given" };
  const label = { type: "plain_text", text: "What" };
  const view = {
    type: "modal",
    callback_id: "asks",
    title: { type: "plain_text", text: "Bolt asks" },
    submit: { type: "plain_text", text: "Send" },
    blocks: [{ type: "input", block_id: "what", label, element: input }],
  };
  await client.views.open({ trigger_id: shortcut.trigger_id, view });
  say({ shortcut: shortcut.callback_id, text: shortcut.message.text, user: shortcut.user.id });
});
app.view("asks", async ({ view, body, ack }) => {
  const { value } = view.state.values.what.given;
  await ack(value === "wrong" ? { response_action: "errors", errors: { what: "Bolt wants another" } } : undefined);
  say({ view: view.callback_id, value, user: body.user.id });
});
app.event("app_mention", async ({ event }) => say({ event: event.type, text: event.text, user: event.user }));
app.event("pin_added", async ({ event }) => say({ event: event.type, text: event.item.message.text, user: event.user }));

if (told.appToken !== undefined) {
  await app.start();
  say({ connected: true });
} else {
  const server = await app.start({ host: "127.0.0.1", port: 0 });
  say({ port: server.address().port });
}
lines.on("close", () => process.exit(0));
