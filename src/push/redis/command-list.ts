/**
 * Takes commands of backends from a Redis list, safely: what was taken lies in a list of this worker until it is answered.
 *
 *   backend ─RPUSH─► key ─BLMOVE─► key:processing:<worker> ─answered: LREM, and RPUSH to the reply list─►
 *                     ▲                     │
 *                     └── worker is gone ───┘   it no longer renews its time in key:workers
 *
 * So a command is carried out at least once. What a command means is not this file's: it is text.
 */
import { randomBytes } from 'node:crypto'
import { backoffMs, messageOf, sleep, type Timer, within } from '../../base/index.ts'
import {
  commandConnection,
  type CommandSourceOptions,
  RENEWALS,
  type Reply,
  replyThrough,
  RETRY,
  STALE_MS,
  STOP_MS,
  TAKE_SECONDS,
  UNDER_WAY_MAX,
} from './command-source.ts'
import type { RedisConnection } from './connection.ts'

/**
 * Renews our time and puts back, in order, what workers had taken that are gone. By the time of Redis: hosts differ.
 * KEYS: workers, list. ARGV: worker, ms after which one is gone. Returns how many were put back.
 */
const RENEW_SCRIPT = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
local count = 0
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])) do
  local processing = KEYS[2] .. ':processing:' .. worker
  while redis.call('LMOVE', processing, KEYS[2], 'RIGHT', 'LEFT') do count = count + 1 end
  redis.call('ZREM', KEYS[1], worker)
end
return count`

export class CommandList {
  readonly #options: CommandSourceOptions
  readonly #take: RedisConnection
  readonly #answer: RedisConnection
  readonly #reply: Reply
  readonly #worker: string
  readonly #processing: string
  readonly #underWay = new Set<Promise<void>>()
  readonly #stopped = new AbortController()
  readonly #staleMs: number
  #renewal: Timer | undefined
  /** A command may lie in our list that we have not seen: the connection broke while Redis moved it. */
  #mayHoldMore = false
  #loop: Promise<void> = Promise.resolve()

  /** @throws PushError PUSH_BAD_ADDRESS */
  constructor(options: CommandSourceOptions) {
    this.#options = options
    this.#staleMs = options.staleMs ?? STALE_MS
    this.#worker = `${options.connectionName}.${randomBytes(4).toString('hex')}`
    this.#processing = `${options.key}:processing:${this.#worker}`
    // One waits in BLMOVE.
    this.#take = commandConnection(options)
    this.#answer = commandConnection(options)
    this.#reply = replyThrough(this.#answer, options)
    options.counters.gauge('gateway_commands_under_way', () => this.#underWay.size)
  }

  /** Begins; while Redis is away it is tried for good, and nothing else waits for it. */
  start(): void {
    this.#take.open()
    this.#answer.onUp = () => void this.#renew()
    this.#answer.open()
    this.#loop = this.#run()
  }

  /** Takes no more, lets what is under way end for 1 s, puts the rest back. */
  async stop(): Promise<void> {
    const { clock, key } = this.#options
    this.#stopped.abort()
    clock.clearTimeout(this.#renewal)
    this.#take.close()
    await within(clock, Promise.allSettled([this.#loop, ...this.#underWay]), STOP_MS)
    try {
      await this.#putBack()
      await this.#answer.client.zrem(`${key}:workers`, this.#worker)
    } catch (error) {
      // Another worker puts them back when ours is stale.
      this.#options.log.debug('commands could not be put back', { error: messageOf(error) })
    }
    this.#answer.close()
  }

  async #run(): Promise<void> {
    const { clock, random, log, key } = this.#options
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted; ) {
      try {
        if (this.#underWay.size >= UNDER_WAY_MAX) await Promise.race(this.#underWay)
        if (this.#mayHoldMore && this.#underWay.size === 0) await this.#putBack()
        const { client } = this.#take
        const text = await client.blmove(key, this.#processing, 'LEFT', 'RIGHT', TAKE_SECONDS)
        failures = 0
        if (text !== null) this.#handle(text)
      } catch (error) {
        if (signal.aborted) return
        const waitMs = backoffMs(failures, random, RETRY)
        const fields = { error: messageOf(error), waitMs }
        // The first failures are those of a connection that is not up yet.
        if (failures++ === 2) log.warn('commands cannot be taken from Redis, trying again', fields)
        this.#mayHoldMore = true
        await sleep(clock, waitMs, signal).catch(() => undefined)
      }
    }
  }

  #handle(text: string): void {
    const done = this.#options.handle(text, this.#reply).then(() => this.#done(text))
    this.#underWay.add(done)
    void done.finally(() => this.#underWay.delete(done))
  }

  async #done(text: string): Promise<void> {
    try {
      await this.#answer.client.lrem(this.#processing, 1, text)
    } catch (error) {
      this.#options.log.warn('a command stays in the list of those under way', {
        error: messageOf(error),
      })
    }
  }

  /** What lies in our list, in its order. */
  async #putBack(): Promise<void> {
    const { client } = this.#answer
    while ((await client.lmove(this.#processing, this.#options.key, 'RIGHT', 'LEFT')) !== null);
    this.#mayHoldMore = false
  }

  async #renew(): Promise<void> {
    const { clock, key, log } = this.#options
    clock.clearTimeout(this.#renewal)
    try {
      const keys = [`${key}:workers`, key]
      const { client } = this.#answer
      const moved = Number(await client.eval(RENEW_SCRIPT, 2, ...keys, this.#worker, this.#staleMs))
      if (moved > 0) log.info('took over commands of a worker that is gone', { commands: moved })
    } catch (error) {
      log.debug('the time of this worker could not be renewed', { error: messageOf(error) })
    }
    if (this.#stopped.signal.aborted) return
    clock.clearTimeout(this.#renewal)
    const everyMs = this.#staleMs / RENEWALS
    this.#renewal = clock.setTimeout(() => void this.#renew(), everyMs)
  }
}
