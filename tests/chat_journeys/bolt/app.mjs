// An app in Bolt for JavaScript that takes what Slack's stand-in delivers, says so, and answers as apps do.
//
//   node app.mjs http|socket      settings as one line of JSON on standard input; ends when that does
//
//   http:   {"api", "token", "secret"}          prints {"port"}, then takes /slack/commands, /interactivity, /events
//   socket: {"api", "token", "appToken"}        prints {"connected": true}, then takes the same over Socket Mode
//
// Then a line of JSON for each delivery that Bolt believed: {"command" | "button" | "event" | "view", …}

import { once } from "node:events";
import { createInterface } from "node:readline";

import bolt from "@slack/bolt";

const [way] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });
const told = JSON.parse((await once(lines, "line"))[0]);
const say = (what) => console.log(JSON.stringify(what));
const clientOptions = { slackApiUrl: told.api };
const quiet = { logLevel: bolt.LogLevel.ERROR };

const receiver =
  way === "socket"
    ? new bolt.SocketModeReceiver({ appToken: told.appToken, installerOptions: { clientOptions }, ...quiet })
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
app.event("app_mention", async ({ event, body }) => say({ event: event.type, text: event.text, id: body.event_id }));
app.view(/.*/, async ({ view, ack }) => {
  await ack();
  say({ view: view.callback_id, values: view.state.values });
});

if (way === "socket") {
  await app.start();
  say({ connected: true });
} else {
  const server = await app.start({ host: "127.0.0.1", port: 0 });
  say({ port: server.address().port });
}
lines.on("close", () => process.exit(0));
