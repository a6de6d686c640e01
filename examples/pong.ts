/** What all the bots here do: answer "ping" with "pong", by Discord's REST API. */
import { REST } from '@discordjs/rest'
import { type GatewayMessageCreateDispatchData, Routes } from 'discord-api-types/v10'

/** The demo prints these; against Discord itself DISCORD_API is not needed. */
const { DISCORD_TOKEN = '', DISCORD_API = 'https://discord.com/api' } = process.env

export const rest: REST = new REST({ api: DISCORD_API }).setToken(
  DISCORD_TOKEN.replace(/^Bot /, ''),
)

export async function pong(
  message: Pick<GatewayMessageCreateDispatchData, 'content' | 'author' | 'channel_id'>,
  by: string,
): Promise<void> {
  if (message.content !== 'ping' || message.author.bot === true) return
  await rest.post(Routes.channelMessages(message.channel_id), {
    body: { content: `pong by ${by}` },
  })
  console.log(`pong by ${by}`)
}
