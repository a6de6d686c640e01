import { messageOf } from '../../base/index.ts'
import {
  type Command,
  type CommandForm,
  type CommandFormOptions,
  TAKE_SECONDS,
} from './command-form.ts'

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

/**
 * Commands in a Redis stream, read as the consumer group `gateway`: what was taken is pending until it is answered.
 *
 *   backend ─XADD json─► key ─XREADGROUP─► pending for this worker ─answered: XACK and XDEL, RPUSH to the reply list─►
 *                                               │   ▲ XCLAIM to itself resets its idle time, while it is under way
 *                                               └── worker is gone: XAUTOCLAIM by another
 */
export class CommandStream implements CommandForm {
  readonly #options: CommandFormOptions
  /** Something may be pending for us that we have not seen: the connection broke while Redis gave it. */
  #mayHoldMore = false
  #hasGroup = false

  constructor(options: CommandFormOptions) {
    this.#options = options
  }

  async next(): Promise<readonly Command[]> {
    if (!this.#hasGroup) await this.#createGroup()
    const isAgain = this.#mayHoldMore
    this.#mayHoldMore = false
    return (await this.#read(isAgain)).map(commandOf)
  }

  onFailure(): void {
    this.#mayHoldMore = true
    // The key was deleted, or Redis has lost it.
    this.#hasGroup = false
  }

  async done(id: string): Promise<void> {
    const { answer, key } = this.#options
    await answer.multi().xack(key, GROUP, id).xdel(key, id).exec()
  }

  async renew(underWay: readonly string[]): Promise<{ count: number; commands: Command[] }> {
    const { answer, key, worker, underWayMax } = this.#options
    if (underWay.length > 0) {
      await answer.call('XCLAIM', key, GROUP, worker, 0, ...underWay, 'JUSTID')
    }
    const taken = underWay.length < underWayMax ? await this.#claimStale() : []
    await this.#forgetWorkers('')
    return { count: taken.length, commands: taken.map(commandOf) }
  }

  async leave(underWay: readonly string[]): Promise<void> {
    const { answer, key, worker, staleMs } = this.#options
    if (underWay.length > 0) {
      const idle = ['IDLE', staleMs, 'JUSTID'] as const
      await answer.call('XCLAIM', key, GROUP, worker, 0, ...underWay, ...idle)
    }
    await this.#forgetWorkers(worker)
  }

  /** New entries, at most TAKE_SECONDS later; or those that are pending for us already. */
  async #read(isAgain: boolean): Promise<readonly Entry[]> {
    const { take, key, worker, underWayMax } = this.#options
    const how = isAgain
      ? ['COUNT', 2 * underWayMax, 'STREAMS', key, '0']
      : ['COUNT', TAKE_MAX, 'BLOCK', TAKE_SECONDS * 1000, 'STREAMS', key, '>']
    const answer = await take.call('XREADGROUP', 'GROUP', GROUP, worker, ...how)
    return (answer as readonly [readonly [string, readonly Entry[]]] | null)?.[0][1] ?? []
  }

  /** What was added before the first worker is taken too. */
  async #createGroup(): Promise<void> {
    try {
      await this.#options.take.xgroup('CREATE', this.#options.key, GROUP, '0', 'MKSTREAM')
    } catch (error) {
      if (!messageOf(error).startsWith('BUSYGROUP')) throw error
    }
    this.#hasGroup = true
  }

  async #claimStale(): Promise<readonly Entry[]> {
    const { answer, key, worker, staleMs } = this.#options
    const who = [key, GROUP, worker, staleMs, '0-0'] as const
    const claimed = await answer.call('XAUTOCLAIM', ...who, 'COUNT', TAKE_MAX)
    // Redis 6.2 gives an entry that was deleted as nothing at all.
    return (claimed as readonly [string, readonly Entry[]])[1].filter((entry) => entry !== null)
  }

  async #forgetWorkers(own: string): Promise<void> {
    const { answer, key, staleMs } = this.#options
    await answer.eval(FORGET_SCRIPT, 1, key, GROUP, staleMs, own)
  }
}

function commandOf([id, fields]: Entry): Command {
  if (fields === null) return { id, text: null }
  const at = fields.findIndex((name, index) => index % 2 === 0 && name === FIELD)
  // An entry without the field is refused as a command that is none.
  return { id, text: at === -1 ? '' : fields[at + 1]! }
}
