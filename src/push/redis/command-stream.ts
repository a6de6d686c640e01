/**
 * Takes commands of backends from a Redis stream, as the consumer group `gateway`: what was taken is pending until it is answered.
 *
 *   backend ─XADD json─► key ─XREADGROUP─► pending for this worker ─answered: XACK and XDEL, RPUSH to the reply list─►
 *                                               │   ▲ XCLAIM to itself resets its idle time, while it is under way
 *                                               └── worker is gone: XAUTOCLAIM by another
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

const GROUP = 'gateway'
/** The field of an entry that is the command. */
const FIELD = 'json'
/** Entries of one XREADGROUP or XAUTOCLAIM. */
const TAKE_MAX = 100

/** Forgets workers that have nothing pending: this one (ARGV 3, may be empty), and those that have not asked for ARGV 2 ms. */
const FORGET_SCRIPT = `
for _, worker in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  if worker[4] == 0 and (worker[2] == ARGV[3] or worker[6] > tonumber(ARGV[2])) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], worker[2])
  end
end`

/** Null where the entry was deleted while it was pending. */
type Entry = readonly [id: string, fields: readonly string[] | null]

export class CommandStream {
  readonly #options: CommandSourceOptions
  readonly #take: RedisConnection
  readonly #answer: RedisConnection
  readonly #reply: Reply
  readonly #worker: string
  /** By entry id. */
  readonly #underWay = new Map<string, Promise<void>>()
  readonly #stopped = new AbortController()
  readonly #staleMs: number
  #renewal: Timer | undefined
  /** Something may be pending for us that we have not seen: the connection broke while Redis gave it. */
  #mayHoldMore = false
  #hasGroup = false
  #loop: Promise<void> = Promise.resolve()

  /** @throws PushError PUSH_BAD_ADDRESS */
  constructor(options: CommandSourceOptions) {
    this.#options = options
    this.#staleMs = options.staleMs ?? STALE_MS
    this.#worker = `${options.connectionName}.${randomBytes(4).toString('hex')}`
    // One waits in XREADGROUP.
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

  /** Takes no more, lets what is under way end for 1 s, and lets others have the rest at once. */
  async stop(): Promise<void> {
    const { clock, key, log } = this.#options
    this.#stopped.abort()
    clock.clearTimeout(this.#renewal)
    this.#take.close()
    await within(clock, Promise.allSettled([this.#loop, ...this.#underWay.values()]), STOP_MS)
    try {
      const { client } = this.#answer
      const ids = [...this.#underWay.keys()]
      if (ids.length > 0) {
        const idle = ['IDLE', this.#staleMs, 'JUSTID'] as const
        await client.call('XCLAIM', key, GROUP, this.#worker, 0, ...ids, ...idle)
      }
      await this.#forgetWorkers(this.#worker)
    } catch (error) {
      // Another worker claims them when ours is stale.
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
        if (!this.#hasGroup) await this.#createGroup()
        const isAgain = this.#mayHoldMore
        this.#mayHoldMore = false
        for (const entry of await this.#read(isAgain)) this.#handle(entry)
        failures = 0
      } catch (error) {
        if (signal.aborted) return
        const waitMs = backoffMs(failures, random, RETRY)
        const fields = { error: messageOf(error), waitMs }
        // The first failures are those of a connection that is not up yet.
        if (failures++ === 2) log.warn('commands cannot be taken from Redis, trying again', fields)
        this.#mayHoldMore = true
        // The key was deleted, or Redis has lost it.
        this.#hasGroup = false
        await sleep(clock, waitMs, signal).catch(() => undefined)
      }
    }
  }

  /** New entries, at most 2 s later; or those that are pending for us already. */
  async #read(isAgain: boolean): Promise<readonly Entry[]> {
    const { key } = this.#options
    const { client } = this.#take
    const group = ['GROUP', GROUP, this.#worker] as const
    const answer = (await (isAgain
      ? client.call('XREADGROUP', ...group, 'COUNT', 2 * UNDER_WAY_MAX, 'STREAMS', key, '0')
      : client.call(
          'XREADGROUP',
          ...group,
          'COUNT',
          TAKE_MAX,
          'BLOCK',
          TAKE_SECONDS * 1000,
          'STREAMS',
          key,
          '>',
        ))) as readonly [readonly [string, readonly Entry[]]] | null
    return answer?.[0][1] ?? []
  }

  /** What was added before the first worker is taken too. */
  async #createGroup(): Promise<void> {
    try {
      await this.#take.client.xgroup('CREATE', this.#options.key, GROUP, '0', 'MKSTREAM')
    } catch (error) {
      if (!messageOf(error).startsWith('BUSYGROUP')) throw error
    }
    this.#hasGroup = true
  }

  #handle([id, fields]: Entry): void {
    if (this.#underWay.has(id)) return
    const at = fields?.findIndex((name, index) => index % 2 === 0 && name === FIELD) ?? -1
    // An entry without the field is refused as a command that is none.
    const text = at === -1 ? '' : fields![at + 1]!
    const work = fields === null ? Promise.resolve() : this.#options.handle(text, this.#reply)
    const done = work.then(() => this.#done(id)).finally(() => this.#underWay.delete(id))
    this.#underWay.set(id, done)
  }

  async #done(id: string): Promise<void> {
    const { key, log } = this.#options
    try {
      await this.#answer.client.multi().xack(key, GROUP, id).xdel(key, id).exec()
    } catch (error) {
      log.warn('a command stays pending and will be carried out again', {
        error: messageOf(error),
      })
    }
  }

  async #renew(): Promise<void> {
    const { clock, key, log } = this.#options
    clock.clearTimeout(this.#renewal)
    try {
      const { client } = this.#answer
      const ids = [...this.#underWay.keys()]
      if (ids.length > 0) await client.call('XCLAIM', key, GROUP, this.#worker, 0, ...ids, 'JUSTID')
      if (this.#underWay.size < UNDER_WAY_MAX) await this.#claimStale()
      await this.#forgetWorkers('')
    } catch (error) {
      log.debug('the time of this worker could not be renewed', { error: messageOf(error) })
    }
    if (this.#stopped.signal.aborted) return
    clock.clearTimeout(this.#renewal)
    this.#renewal = clock.setTimeout(() => void this.#renew(), this.#staleMs / RENEWALS)
  }

  async #claimStale(): Promise<void> {
    const { key, log } = this.#options
    const who = [key, GROUP, this.#worker, this.#staleMs, '0-0'] as const
    const answer = await this.#answer.client.call('XAUTOCLAIM', ...who, 'COUNT', TAKE_MAX)
    const entries = (answer as readonly [string, readonly Entry[]])[1]
    // Redis 6.2 gives an entry that was deleted as nothing at all.
    const there = entries.filter((entry) => entry !== null)
    if (there.length === 0 || this.#stopped.signal.aborted) return
    log.info('took over commands of a worker that is gone', { commands: there.length })
    for (const entry of there) this.#handle(entry)
  }

  async #forgetWorkers(own: string): Promise<void> {
    const { key } = this.#options
    await this.#answer.client.eval(FORGET_SCRIPT, 1, key, GROUP, this.#staleMs, own)
  }
}
