import { status } from '@grpc/grpc-js'
import { BaseError } from '../base/index.ts'

/** Every code of the room: what it means and what to do. docs/errors.md is made from this table. */
export const SERVER_ERRORS = {
  SERVER_BAD_REQUEST:
    'A parameter of the request cannot be used. The answer names it and says what is expected.',
  SERVER_NOT_FOUND:
    'The cache does not know the object: it does not exist, or no event has told of it since the bot can see it.',
  SERVER_NOT_CACHED:
    'The gateway does not keep this kind of state, so that nothing can be said of it. Start the gateway with the kind in -cache.',
  SERVER_LIST_TOO_LONG:
    'A list as an external term is held until it is whole, since its length stands before its entries; this one is larger than the program holds. Ask for pages with limit, or for JSON.',
  SERVER_UNAUTHORIZED:
    'The listener asks for a token and the request has none, or another one. Send Authorization: Bearer with the value of -read-token, for writing that of -write-token, for gRPC calls that change the fleet that of -admin-token (gatewayctl: -admin-token or GATEWAY_ADMIN_TOKEN).',
  SERVER_WRITING_OFF:
    'The routes that write are off. Start the program with -write-token to have them.',
  SERVER_ACTIONS_OFF:
    'The dashboard shows, and does nothing. Start the gateway with -admin-token to restart, move and drain from it.',
  SERVER_NO_ROUTE: 'No route has this path and method. docs/state.md lists the routes.',
  SERVER_SHARD_NOT_FOUND:
    'No worker holds the shard at the moment, or there is none of this number. `gatewayctl status` shows the shards; a shard that is on its way to another worker is back within seconds.',
  SERVER_SHARD_NOT_READY:
    'The shard has no session at the moment, so it cannot send to Discord. Ask again when it is connected.',
  SERVER_WORKER_UNREACHABLE:
    'The call is for a shard of another worker, and that one does not answer at the address that it has registered. If it runs, give it an -addr that the other workers reach (the default is the loopback interface of its host).',
  SERVER_WRONG_WORKER:
    'Another worker has passed a call to this one that was meant for a third: the address that the third has registered leads here. Give each worker an -addr that the others reach.',
  SERVER_DATABASE_AWAY:
    'The database does not answer. The program connects again by itself; ask again after the seconds of Retry-After.',
  SERVER_DATABASE_EMPTY:
    'The database has none of the tables of the gateway. Start `gateway` on it first, or correct -psql.',
  SERVER_BUSY:
    'More requests are under way than the program takes at a time. Ask again after the seconds of Retry-After.',
  SERVER_INTERNAL: 'The request failed inside the program. Its log says why.',
  SERVER_CHANNEL_UNKNOWN:
    'A command names a channel by which its guild shall be found, and the cache does not know the channel. Name the guild; with -cache none no channel is known.',
  SERVER_COMMAND_EXPIRED:
    'The command lay in its list until its expires_at had passed, so it was not carried out. Send it again if it still matters.',
  SERVER_VOICE_CLOSED:
    'Voice connections hold a token with which anybody could speak for the bot, so they are served only where -backend-token is set, to callers that send it.',
  SERVER_INTENT_MISSING:
    'Discord answers the command only with an intent that -intents does not have. The message names it; a privileged one is switched on in the Developer Portal too.',
  SERVER_SPILL_HELD:
    'A spill was to be declared lost, and a worker that runs has it open: it delivers what lies in it. Stop the worker first if its disk is to be given up.',
  SERVER_SPILL_UNKNOWN:
    'A spill was to be declared lost that the database does not name: it is empty, or was declared lost before. `gatewayctl spills` shows those that are not empty.',
  SERVER_CANNOT_LISTEN:
    'The address of a listener cannot be used: another program has it, it is not an address of this host, or the port needs privileges. Give another one by the flag that the message names.',
} as const

export type ServerErrorCode = keyof typeof SERVER_ERRORS

/** What a listener answers instead of the thing asked for, or why it cannot listen. docs/errors.md#server */
export class ServerError extends BaseError<ServerErrorCode> {
  override readonly name = 'ServerError'
}

interface Answer {
  readonly httpStatus: number
  readonly grpcStatus: status
  /** Seconds for Retry-After. */
  readonly retryAfterSeconds?: number
}

/** The one table from errors to what a client sees. */
const ANSWERS: Readonly<Record<ServerErrorCode, Answer>> = {
  SERVER_BAD_REQUEST: { httpStatus: 400, grpcStatus: status.INVALID_ARGUMENT },
  SERVER_NOT_FOUND: { httpStatus: 404, grpcStatus: status.NOT_FOUND },
  SERVER_NOT_CACHED: { httpStatus: 501, grpcStatus: status.UNIMPLEMENTED },
  SERVER_LIST_TOO_LONG: { httpStatus: 413, grpcStatus: status.OUT_OF_RANGE },
  SERVER_UNAUTHORIZED: { httpStatus: 401, grpcStatus: status.UNAUTHENTICATED },
  SERVER_WRITING_OFF: { httpStatus: 403, grpcStatus: status.PERMISSION_DENIED },
  SERVER_ACTIONS_OFF: { httpStatus: 403, grpcStatus: status.PERMISSION_DENIED },
  SERVER_NO_ROUTE: { httpStatus: 404, grpcStatus: status.UNIMPLEMENTED },
  SERVER_SHARD_NOT_FOUND: { httpStatus: 404, grpcStatus: status.NOT_FOUND },
  SERVER_SHARD_NOT_READY: { httpStatus: 503, grpcStatus: status.UNAVAILABLE, retryAfterSeconds: 5 },
  SERVER_WORKER_UNREACHABLE: {
    httpStatus: 503,
    grpcStatus: status.UNAVAILABLE,
    retryAfterSeconds: 5,
  },
  SERVER_WRONG_WORKER: { httpStatus: 503, grpcStatus: status.UNAVAILABLE, retryAfterSeconds: 5 },
  SERVER_CHANNEL_UNKNOWN: { httpStatus: 404, grpcStatus: status.NOT_FOUND },
  SERVER_COMMAND_EXPIRED: { httpStatus: 410, grpcStatus: status.FAILED_PRECONDITION },
  SERVER_VOICE_CLOSED: { httpStatus: 403, grpcStatus: status.PERMISSION_DENIED },
  SERVER_INTENT_MISSING: { httpStatus: 409, grpcStatus: status.FAILED_PRECONDITION },
  SERVER_DATABASE_AWAY: { httpStatus: 503, grpcStatus: status.UNAVAILABLE, retryAfterSeconds: 2 },
  SERVER_DATABASE_EMPTY: { httpStatus: 503, grpcStatus: status.UNAVAILABLE, retryAfterSeconds: 10 },
  SERVER_BUSY: { httpStatus: 503, grpcStatus: status.RESOURCE_EXHAUSTED, retryAfterSeconds: 1 },
  SERVER_INTERNAL: { httpStatus: 500, grpcStatus: status.INTERNAL },
  SERVER_SPILL_HELD: { httpStatus: 409, grpcStatus: status.FAILED_PRECONDITION },
  SERVER_SPILL_UNKNOWN: { httpStatus: 404, grpcStatus: status.NOT_FOUND },
  SERVER_CANNOT_LISTEN: { httpStatus: 500, grpcStatus: status.INTERNAL },
}

export function answerOf(error: ServerError): Answer {
  return ANSWERS[error.code]
}

/** Postgres: no such table, no such column. See [PostgreSQL/Appendix A]. */
const EMPTY_DATABASE = new Set(['42P01', '42703'])
/** Shutting down, crashed, starting up, dropped under us, cancelled by statement_timeout; out of connections. */
const DATABASE_AWAY = /^(57P0[1-4]|57014|53\d\d\d|08\d\d\d)$/
const NETWORK_AWAY = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])
/** What Postgres says of \\u0000 and of half a surrogate pair in JSON. */
const UNSTORABLE = new Set(['22P05', '22P02'])
const CAUSES_MAX = 5

/** Anything that was thrown under a request, as the error that its client may see. */
export function toServerError(thrown: unknown): ServerError {
  let error: unknown = thrown
  for (let depth = 0; error instanceof Error && depth < CAUSES_MAX; depth++) {
    if (error instanceof ServerError) return error
    const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
    if (EMPTY_DATABASE.has(code)) {
      return new ServerError(
        'SERVER_DATABASE_EMPTY',
        'The database holds no gateway tables yet: no gateway has run on it.',
        {},
        { cause: thrown, retryable: true },
      )
    }
    if (code === 'CACHE_BUSY') {
      return new ServerError(
        'SERVER_BUSY',
        'The database is slower than it is asked.',
        {},
        { cause: thrown, retryable: true },
      )
    }
    if (UNSTORABLE.has(code)) {
      return new ServerError(
        'SERVER_BAD_REQUEST',
        'The body holds text that cannot be stored: a NUL or half of a surrogate pair.',
        {},
        { cause: thrown },
      )
    }
    const isRetryable = error instanceof BaseError && error.retryable
    if (isRetryable || DATABASE_AWAY.test(code) || NETWORK_AWAY.has(code)) {
      return new ServerError(
        'SERVER_DATABASE_AWAY',
        'The database does not answer at the moment.',
        {},
        { cause: thrown, retryable: true },
      )
    }
    error = error.cause
  }
  return new ServerError(
    'SERVER_INTERNAL',
    'The request failed inside the program; its log says why.',
    {},
    { cause: thrown },
  )
}

/** The sentence without the code in front, for people who read an answer. */
export function sentenceOf(error: ServerError): string {
  return error.message.slice(`[${error.code}] `.length)
}
