import {
  type Command,
  type CommandForm,
  type CommandFormOptions,
  TAKE_SECONDS,
} from './command-form.ts'

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

/**
 * Commands in a Redis list: what was taken lies in a list of this worker until it is answered.
 *
 *   backend ─RPUSH─► key ─BLMOVE─► key:processing:<worker> ─answered: LREM, and RPUSH to the reply list─►
 *                     ▲                     │
 *                     └── worker is gone ───┘   it no longer renews its time in key:workers
 */
export class CommandList implements CommandForm {
  readonly #options: CommandFormOptions
  readonly #processing: string
  #taken = 0
  /** A command may lie in our list that we have not seen: the connection broke while Redis moved it. */
  #mayHoldMore = false

  constructor(options: CommandFormOptions) {
    this.#options = options
    this.#processing = `${options.key}:processing:${options.worker}`
  }

  async next(underWay: number): Promise<readonly Command[]> {
    const { take, key } = this.#options
    if (this.#mayHoldMore && underWay === 0) await this.#putBack()
    const text = await take.blmove(key, this.#processing, 'LEFT', 'RIGHT', TAKE_SECONDS)
    // The same text may be there twice.
    return text === null ? [] : [{ id: String(this.#taken++), text }]
  }

  onFailure(): void {
    this.#mayHoldMore = true
  }

  async done(_id: string, text: string): Promise<void> {
    await this.#options.answer.lrem(this.#processing, 1, text)
  }

  async renew(): Promise<{ count: number; commands: Command[] }> {
    const { answer, key, worker, staleMs } = this.#options
    const moved = await answer.eval(RENEW_SCRIPT, 2, `${key}:workers`, key, worker, staleMs)
    // They lie in the list again, for whoever takes them.
    return { count: Number(moved), commands: [] }
  }

  async leave(): Promise<void> {
    const { answer, key, worker } = this.#options
    await this.#putBack()
    await answer.zrem(`${key}:workers`, worker)
  }

  /** What lies in our list, in its order. */
  async #putBack(): Promise<void> {
    const { answer, key } = this.#options
    while ((await answer.lmove(this.#processing, key, 'RIGHT', 'LEFT')) !== null);
    this.#mayHoldMore = false
  }
}
