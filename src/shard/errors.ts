/** Errors of the shard room. The table is also docs/errors.md's text: what it means, what to do. */
import { BaseError } from '../base/index.ts'

export const SHARD_ERRORS = {
  SHARD_API_UNREACHABLE:
    'Discord’s REST API (GET /gateway/bot) could not be reached. Check the network, the DNS and -discord-api; the last cause is in the message.',
  SHARD_API_UNEXPECTED:
    'The REST API answered GET /gateway/bot with something that is no Discord answer. Check that -discord-api is the address of the API, with its path.',
  SHARD_COMMAND_WITHDRAWN:
    'The call that sent the command was cancelled, or its deadline passed, while the command waited for Discord’s limits; it was not sent.',
  SHARD_CLOSED_FATALLY:
    'Discord closed a shard with a code that no reconnect heals (4004, 4010 to 4014). The message names the cure; all shards were stopped so that no identify is wasted.',
  SHARD_MEMBERS_NO_ANSWER:
    'Discord has answered a request for members with nothing, twice. It does so for a guild that the bot is not in, and for whole lists without the intent GUILD_MEMBERS.',
  SHARD_NONCE_TAKEN:
    'Another request for members with this nonce is not through yet. Nonces tell whose chunks are whose: use each once.',
  SHARD_NOT_OWNED:
    'The shard is not held by this process: its id is out of range, or another worker has claimed it. Ask the worker that owns it.',
  SHARD_NOT_READY:
    'The shard has no session at the moment and has had none for up to 60 s (connecting, resuming or parked), so nothing can be sent. Try again when its state is ready.',
  SHARD_PAYLOAD_TOO_LARGE:
    'The command is larger than the 4,096 bytes that Discord accepts; it was not sent, because Discord would have closed the connection with 4002. Make it smaller: fewer user ids, a shorter presence.',
  SHARD_PRESENCE_REPLACED:
    'A newer presence came while this one waited for Discord’s limit of 5 in 20 s; only the newest is sent.',
  SHARD_SEND_QUEUE_FULL:
    'More commands are waiting for the shard than its queue holds, because Discord accepts 120 in 60 s per connection. Send fewer, or spread them over time.',
  SHARD_TOKEN_REFUSED:
    'Discord refuses the token (HTTP 401). Copy it again from the Developer Portal (Bot > Reset Token) and give it by -token, -token-file or DISCORD_TOKEN.',
} as const

type ShardErrorCode = keyof typeof SHARD_ERRORS

export class ShardError extends BaseError<ShardErrorCode> {
  override readonly name = 'ShardError'
}
