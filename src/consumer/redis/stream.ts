import { randomUUID } from 'node:crypto'
import type { Log } from '../../base/index.ts'
import { ConsumerError } from '../errors.ts'
import type { EventSource, SourceContext } from '../ports.ts'
import { isReplyError, RedisLink, type RedisTarget } from './link.ts'
import { StreamHeld } from './stream-held.ts'
import { StreamReader } from './stream-reader.ts'
import { StreamUpkeep } from './stream-upkeep.ts'

const CLAIM_IDLE_MS = 30_000
const KEYS_MAX = 1024
const KEYS_DEFAULT = ['gateway:stream:all']

export interface RedisStreamOptions {
  readonly redis: RedisTarget
  /**
   * The streams as `split` makes them: gateway:stream:all (default), gateway:stream:<EVENT>, or those of the
   * partitions gateway:stream:<n> that this process shall read.
   */
  readonly keys?: readonly string[]
  /** The bot's consumer group; made when it is not there. */
  readonly group: string
  /** Where a new group begins: with all that the stream still has (default), or with what comes from now on. */
  readonly begin?: 'all' | 'new'
  /** What another process took and did not confirm for this long is taken over. Default 30 s. */
  readonly claimIdleMs?: number
}

/**
 * Redis streams with the fields t, s, shard, session, class, d, read as a group: each event goes to one of the
 * group's processes, and what a crashed one held is taken over by the others (XAUTOCLAIM).
 *
 * Order per guild holds within a process; across several, give each its own partitions.
 */
export function redisStream(options: RedisStreamOptions): EventSource {
  return new RedisStreamSource(options)
}

class RedisStreamSource implements EventSource {
  readonly #options: RedisStreamOptions
  #links: RedisLink[] = []
  #held: StreamHeld | undefined
  #reader: StreamReader | undefined
  #upkeep: StreamUpkeep | undefined

  constructor(options: RedisStreamOptions) {
    const { keys = KEYS_DEFAULT, group } = options
    if (keys.length === 0 || keys.length > KEYS_MAX) {
      throw badOption('keys', `has ${keys.length} entries: give 1 to ${KEYS_MAX}`)
    }
    if (group === '') throw badOption('group', 'is empty: name the bot')
    this.#options = options
  }

  async start(context: SourceContext): Promise<void> {
    const { redis, group, begin = 'all', claimIdleMs = CLAIM_IDLE_MS } = this.#options
    const { intake, clock, log } = context
    const keys = [...new Set(this.#options.keys ?? KEYS_DEFAULT)]
    const name = randomUUID()
    const [link, commands] = ['read', 'commands'].map(
      (role) => new RedisLink({ ...context, redis, connectionName: `gateway-consumer-${role}` }),
    ) as [RedisLink, RedisLink]
    this.#links = [link, commands]
    try {
      await Promise.all(this.#links.map((one) => one.connect()))
      await makeGroups(link, keys, group, begin, log)
    } catch (error) {
      for (const one of this.#links) one.close()
      throw error
    }
    const held = new StreamHeld({ commands, group, intake })
    this.#held = held
    this.#reader = new StreamReader({
      link,
      commands,
      keys,
      group,
      name,
      held,
      intake,
      // After FLUSHALL, or an XGROUP DESTROY by somebody: what is there was never read.
      remakeGroups: () => makeGroups(link, keys, group, 'all', log),
    })
    this.#upkeep = new StreamUpkeep({
      commands,
      keys,
      group,
      name,
      held,
      intake,
      claimIdleMs,
      clock,
      log,
    })
    this.#reader.start()
    this.#upkeep.start()
  }

  async pause(): Promise<void> {
    await Promise.all([this.#reader?.pause(), this.#upkeep?.pause()])
  }

  async close(): Promise<void> {
    await this.#held?.flush()
    await this.#upkeep?.leave()
    for (const link of this.#links) link.close()
  }
}

async function makeGroups(
  link: RedisLink,
  keys: readonly string[],
  group: string,
  begin: 'all' | 'new',
  log: Log,
): Promise<void> {
  for (const key of keys) {
    try {
      await link.client.xgroup('CREATE', key, group, begin === 'all' ? '0' : '$', 'MKSTREAM')
      log.info('consumer: made the group', { key, group })
    } catch (error) {
      if (!isReplyError(error)) throw error
      if (error.message.startsWith('BUSYGROUP')) continue
      throw new ConsumerError(
        'CONSUMER_REFUSED',
        `Redis refuses the group ${group} of ${key}: ${error.message}.`,
        { key, group },
        { cause: error },
      )
    }
  }
}

function badOption(option: string, what: string): ConsumerError {
  return new ConsumerError('CONSUMER_BAD_OPTION', `${option} ${what}.`, { option })
}
