import { type Clock, type Log, messageOf, type Timer } from '../../base/index.ts'
import type { Intake } from '../ports.ts'
import type { RedisLink } from './link.ts'
import type { StreamEntry, StreamHeld } from './stream-held.ts'

const CLAIMS_MAX = 100
const PENDING_MAX = 1000
/** A member of the group that holds nothing and has not read for this long is taken out of it. */
const FORGET_IDLE_MS = 600_000
/** What is given back looks as if it had been held this long, so that the next round takes it. */
const GIVEN_BACK_IDLE_MS = 86_400_000

/** In one step: a member that came back between the question and the deletion would lose what it took. */
const FORGET = `
for _, consumer in ipairs(redis.call('xinfo', 'consumers', KEYS[1], ARGV[1])) do
  local field = {}
  for i = 1, #consumer, 2 do field[consumer[i]] = consumer[i + 1] end
  if field.pending == 0 and field.idle > tonumber(ARGV[2]) then
    redis.call('xgroup', 'delconsumer', KEYS[1], ARGV[1], field.name)
  end
end
return 1`

export interface StreamUpkeepOptions {
  readonly commands: RedisLink
  readonly keys: readonly string[]
  readonly group: string
  readonly name: string
  readonly held: StreamHeld
  readonly intake: Intake
  readonly claimIdleMs: number
  readonly clock: Clock
  readonly log: Log
}

/** Takes over what crashed members of the group held, and keeps what this one holds for long. */
export class StreamUpkeep {
  readonly #options: StreamUpkeepOptions
  #timer: Timer | undefined
  #round: Promise<void> = Promise.resolve()
  #isPaused = false
  #saidFailure = false
  #cannotForget = false

  constructor(options: StreamUpkeepOptions) {
    this.#options = options
  }

  start(): void {
    this.#round = this.#upkeep().finally(() => this.#next())
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    this.#options.clock.clearTimeout(this.#timer)
    await this.#round
  }

  /** What was not confirmed is free for the others at once; a member without any leaves the group. */
  async leave(): Promise<void> {
    const { commands, keys, group, name } = this.#options
    const { client } = commands
    if (client.status !== 'ready') return
    try {
      for (const key of keys) {
        const ids = await this.#pending(key, 0)
        if (ids.length === 0) await client.xgroup('DELCONSUMER', key, group, name)
        else await this.#claim(key, ids, GIVEN_BACK_IDLE_MS)
      }
    } catch {
      // Redis went away: the others take it over when it was idle long enough.
    }
  }

  #next(): void {
    const { clock, claimIdleMs } = this.#options
    if (this.#isPaused) return
    this.#timer = clock.setTimeout(() => this.start(), claimIdleMs / 3)
  }

  async #upkeep(): Promise<void> {
    const { commands, keys, log } = this.#options
    if (commands.client.status !== 'ready') return
    try {
      for (const key of keys) {
        await this.#keepOwn(key)
        await this.#takeOver(key)
        await this.#forget(key)
      }
      this.#saidFailure = false
    } catch (error) {
      if (!this.#saidFailure) {
        log.warn('consumer: the group could not be looked after, trying again', {
          cause: messageOf(error),
        })
      }
      this.#saidFailure = true
    }
  }

  /** A handler that takes long is no reason for others to take its event. */
  async #keepOwn(key: string): Promise<void> {
    const { held, claimIdleMs } = this.#options
    const pending = await this.#pending(key, Math.floor(claimIdleMs / 3))
    const ids = pending.filter((id) => held.has(key, id))
    if (ids.length > 0) await this.#claim(key, ids, 0)
  }

  async #takeOver(key: string): Promise<void> {
    const { commands, group, name, held, intake, claimIdleMs, log } = this.#options
    let cursor = '0-0'
    let count = 0
    while (!this.#isPaused) {
      const room = Math.min(intake.room(), CLAIMS_MAX)
      if (room === 0) break
      const [next, entries] = (await commands.client.callBuffer('XAUTOCLAIM', [
        key,
        group,
        name,
        claimIdleMs,
        cursor,
        'COUNT',
        room,
      ])) as [Buffer, (StreamEntry | null)[]]
      for (const entry of entries) {
        if (entry === null) continue
        held.take(key, entry)
        count++
      }
      cursor = next.toString()
      if (cursor === '0-0') break
    }
    if (count > 0) {
      log.warn('consumer: took over the events of a process that has ended without confirming', {
        key,
        events: count,
      })
    }
  }

  async #forget(key: string): Promise<void> {
    const { commands, group, log } = this.#options
    if (this.#cannotForget) return
    try {
      await commands.client.eval(FORGET, 1, key, group, FORGET_IDLE_MS)
    } catch (error) {
      this.#cannotForget = true
      log.warn('consumer: EVAL is refused, ended processes stay members of the group', {
        key,
        cause: messageOf(error),
      })
    }
  }

  async #pending(key: string, idleMs: number): Promise<string[]> {
    const { commands, group, name } = this.#options
    const rows = (await commands.client.call('XPENDING', [
      key,
      group,
      'IDLE',
      idleMs,
      '-',
      '+',
      PENDING_MAX,
      name,
    ])) as [string, ...unknown[]][]
    return rows.map(([id]) => id)
  }

  /** Sets since when the entries are idle; JUSTID leaves their number of deliveries. */
  async #claim(key: string, ids: readonly string[], idleMs: number): Promise<void> {
    const { commands, group, name } = this.#options
    await commands.client.call('XCLAIM', [key, group, name, 0, ...ids, 'IDLE', idleMs, 'JUSTID'])
  }
}
