/** What is the same for commands from a list and from a stream: connections, answers, bounds. */
import { type Clock, type Counters, type Log, messageOf, type Random } from '../../base/index.ts'
import { RedisConnection } from './connection.ts'

/** Puts an answer into a list of the backend. */
export type Reply = (key: string, text: string) => void

export interface CommandSourceOptions {
  /** host:port, redis:// or rediss://. */
  readonly address: string
  readonly key: string
  readonly connectionName: string
  /** Carries a command out; resolves when it is answered for good. Must not reject. */
  readonly handle: (text: string, reply: Reply) => Promise<void>
  /** A worker that has not renewed its time for so long is gone. Default 20,000. */
  readonly staleMs?: number
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly counters: Counters
}

/** Commands under way in this process; the others wait in Redis. */
export const UNDER_WAY_MAX = 1000
/** One blocking command; the command timeout is above it, so that a dead connection is noticed. */
export const TAKE_SECONDS = 2
const COMMAND_TIMEOUT_MS = 10_000
export const RETRY = { baseMs: 100, maxMs: 5000 } as const
export const STALE_MS = 20_000
/** A worker renews its time so often within that. */
export const RENEWALS = 4
/** An answer list that nobody reads: the newest so many, for so long. */
const ANSWERS_MAX = 10_000
const ANSWERS_SECONDS = 3600
export const STOP_MS = 1000

/** @throws PushError PUSH_BAD_ADDRESS */
export function commandConnection(options: CommandSourceOptions): RedisConnection {
  return new RedisConnection({
    destination: 'commands',
    address: options.address,
    connectionName: `${options.connectionName}-commands`,
    commandTimeoutMs: COMMAND_TIMEOUT_MS,
    clock: options.clock,
    random: options.random,
    log: options.log,
  })
}

export function replyThrough(
  { client }: RedisConnection,
  { counters, log }: CommandSourceOptions,
): Reply {
  return (key, text) => {
    client
      .multi()
      .rpush(key, text)
      .ltrim(key, -ANSWERS_MAX, -1)
      .expire(key, ANSWERS_SECONDS)
      .exec()
      .catch((error: unknown) => {
        counters.counter('gateway_commands_unanswered_total').value++
        log.warn('a command could not be answered', { error: messageOf(error) })
      })
  }
}
