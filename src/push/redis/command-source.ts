/** Takes commands of backends from Redis and has them carried out, at least once each. What a command means is not this file's: it is text. */
import { randomBytes } from 'node:crypto'
import {
  backoffMs,
  type Clock,
  type Counters,
  type Log,
  messageOf,
  type Random,
  sleep,
  type Timer,
  within,
} from '../../base/index.ts'
import type { CommandForm } from './command-form.ts'
import { CommandList } from './command-list.ts'
import { CommandStream } from './command-stream.ts'
import { RedisConnection } from './connection.ts'

/** Puts an answer into a list of the backend. */
export type Reply = (key: string, text: string) => void

export interface CommandSourceOptions {
  readonly form: 'list' | 'stream'
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
const UNDER_WAY_MAX = 1000
/** Above the time that one waits for a command, so that a dead connection is noticed. */
const COMMAND_TIMEOUT_MS = 10_000
const RETRY = { baseMs: 100, maxMs: 5000 }
const STALE_MS = 20_000
/** A worker renews its time so often within that. */
const RENEWALS = 4
/** An answer list that nobody reads: the newest so many, for so long. */
const ANSWERS_MAX = 10_000
const ANSWERS_SECONDS = 3600
const STOP_MS = 1000

export class CommandSource {
  readonly #options: CommandSourceOptions
  readonly #take: RedisConnection
  readonly #answer: RedisConnection
  readonly #form: CommandForm
  /** By the name that the form gives a command. */
  readonly #underWay = new Map<string, Promise<void>>()
  readonly #stopped = new AbortController()
  readonly #staleMs: number
  #renewal: Timer | undefined
  #loop: Promise<void> = Promise.resolve()

  /** @throws PushError PUSH_BAD_ADDRESS */
  constructor(options: CommandSourceOptions) {
    const { form, key, connectionName, staleMs = STALE_MS, counters } = options
    this.#options = options
    this.#staleMs = staleMs
    // One waits for commands.
    this.#take = connection(options)
    this.#answer = connection(options)
    const Form = form === 'stream' ? CommandStream : CommandList
    this.#form = new Form({
      take: this.#take.client,
      answer: this.#answer.client,
      key,
      worker: `${connectionName}.${randomBytes(4).toString('hex')}`,
      staleMs,
      underWayMax: UNDER_WAY_MAX,
    })
    counters.gauge('gateway_commands_under_way', () => this.#underWay.size)
  }

  /** Begins; while Redis is away it is tried for good, and nothing else waits for it. */
  start(): void {
    this.#take.open()
    this.#answer.onUp = () => void this.#renew()
    this.#answer.open()
    this.#loop = this.#run()
  }

  /** Takes no more, lets what is under way end for 1 s, and lets others have the rest at once. */
  async stop(): Promise<void> {
    const { clock, log } = this.#options
    this.#stopped.abort()
    clock.clearTimeout(this.#renewal)
    this.#take.close()
    await within(clock, Promise.allSettled([this.#loop, ...this.#underWay.values()]), STOP_MS)
    try {
      await this.#form.leave([...this.#underWay.keys()])
    } catch (error) {
      // Another worker takes them over when ours is stale.
      log.debug('commands could not be given back', { error: messageOf(error) })
    }
    this.#answer.close()
  }

  async #run(): Promise<void> {
    const { clock, random, log } = this.#options
    const { signal } = this.#stopped
    for (let failures = 0; !signal.aborted; ) {
      try {
        if (this.#underWay.size >= UNDER_WAY_MAX) await Promise.race(this.#underWay.values())
        const commands = await this.#form.next(this.#underWay.size)
        failures = 0
        for (const { id, text } of commands) this.#handle(id, text)
      } catch (error) {
        if (signal.aborted) return
        const waitMs = backoffMs(failures, random, RETRY)
        const fields = { error: messageOf(error), waitMs }
        // The first failures are those of a connection that is not up yet.
        if (failures++ === 2) log.warn('commands cannot be taken from Redis, trying again', fields)
        this.#form.onFailure()
        await sleep(clock, waitMs, signal).catch(() => undefined)
      }
    }
  }

  #handle(id: string, text: string | null): void {
    if (this.#underWay.has(id)) return
    const work = text === null ? Promise.resolve() : this.#options.handle(text, this.#reply)
    const done = work.then(() => this.#done(id, text)).finally(() => this.#underWay.delete(id))
    this.#underWay.set(id, done)
  }

  async #done(id: string, text: string | null): Promise<void> {
    try {
      await this.#form.done(id, text)
    } catch (error) {
      this.#options.log.warn('a command was carried out and stays in Redis: it may come again', {
        error: messageOf(error),
      })
    }
  }

  readonly #reply: Reply = (key, text) => {
    const { counters, log } = this.#options
    this.#answer.client
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

  async #renew(): Promise<void> {
    const { clock, log } = this.#options
    clock.clearTimeout(this.#renewal)
    try {
      const { count, commands } = await this.#form.renew([...this.#underWay.keys()])
      if (count > 0) log.info('took over commands of a worker that is gone', { commands: count })
      if (!this.#stopped.signal.aborted) {
        for (const { id, text } of commands) this.#handle(id, text)
      }
    } catch (error) {
      log.debug('the time of this worker could not be renewed', { error: messageOf(error) })
    }
    if (this.#stopped.signal.aborted) return
    clock.clearTimeout(this.#renewal)
    this.#renewal = clock.setTimeout(() => void this.#renew(), this.#staleMs / RENEWALS)
  }
}

/** @throws PushError PUSH_BAD_ADDRESS */
function connection(options: CommandSourceOptions): RedisConnection {
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
