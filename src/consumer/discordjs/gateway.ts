import type { GatewayDispatchPayload, GatewaySendPayload } from 'discord-api-types/v10'
import { sleep, systemClock } from '../../base/index.ts'
import { shardOfGuild } from '../../discord/index.ts'
import { Consumer, type ConsumerOptions, type ConsumerStats } from '../consumer.ts'
import { ConsumerError } from '../errors.ts'
import { type ConsumedEvent, guildOf } from '../event.ts'
import type { GrpcTarget } from '../grpc/proto-files.ts'
import { CommandSender } from './command-sender.ts'

/** WebSocketShardEvents.Dispatch of @discordjs/ws. */
const DISPATCH = 'dispatch'
/** How long getShardCount() waits for an event that tells it. */
const SHARD_COUNT_TIMEOUT_MS = 10_000

type DispatchListener = (payload: GatewayDispatchPayload, shardId: number) => unknown

export interface DiscordjsGatewayOptions extends Omit<ConsumerOptions, 'onEvent'> {
  /** The gateway to which send() goes; without it send() refuses. */
  readonly commands?: GrpcTarget
  /** The fleet's number of shards. gRPC and envelopes tell it; a bare `d` and streams do not. */
  readonly shardCount?: number
  /**
   * Awaited after the listeners of an event, before it is confirmed. The Client of @discordjs/core does not wait
   * for the bot's own listeners: `() => client.waitForAllListenersToComplete()` does.
   */
  readonly handled?: () => Promise<unknown>
}

/**
 * Stands where a WebSocketManager of `@discordjs/ws` stood: `new Client({ rest, gateway })`, `gateway.connect()`,
 * `gateway.destroy()`. READY and RESUMED never come: sessions are the gateway's.
 */
export class DiscordjsGateway {
  readonly #options: DiscordjsGatewayOptions
  readonly #consumer: Consumer
  readonly #sender: CommandSender | undefined
  readonly #listeners = new Set<DispatchListener>()
  readonly #shardCountKnown = Promise.withResolvers<number>()
  #shardCount: number | undefined

  constructor(options: DiscordjsGatewayOptions) {
    this.#options = options
    this.#consumer = new Consumer({ ...options, onEvent: (event) => this.#onEvent(event) })
    if (options.commands !== undefined) this.#sender = new CommandSender(options.commands)
    if (options.shardCount !== undefined) this.#learnShardCount(options.shardCount)
  }

  /** Takes listeners of 'dispatch'. Others may be added as with a WebSocketManager; nothing calls them. */
  on(
    event: string,
    listener: (payload: GatewayDispatchPayload, shardId: number) => PromiseLike<void> | void,
  ): this {
    if (event === DISPATCH) this.#listeners.add(listener)
    return this
  }

  off(_event: string, listener: DispatchListener): this {
    this.#listeners.delete(listener)
    return this
  }

  /** Begins to take events: add listeners before. @throws ConsumerError when the source cannot be reached. */
  async connect(): Promise<void> {
    await this.#consumer.start()
  }

  /** Stops as Consumer.stop() does. */
  async destroy(deadlineMs?: number): Promise<ConsumerStats> {
    const stats = await this.#consumer.stop(deadlineMs)
    this.#sender?.close()
    return stats
  }

  stats(): ConsumerStats {
    return this.#consumer.stats()
  }

  /** @throws ConsumerError CONSUMER_BAD_OPTION when no event has told it within 10 s. */
  async getShardCount(): Promise<number> {
    if (this.#shardCount !== undefined) return this.#shardCount
    const over = new AbortController()
    const late = sleep(systemClock, SHARD_COUNT_TIMEOUT_MS, over.signal).then(() => {
      throw new ConsumerError(
        'CONSUMER_BAD_OPTION',
        'shardCount is not given and no event has told it: give the fleet’s number of shards.',
        { option: 'shardCount' },
      )
    })
    late.catch(() => undefined)
    try {
      return await Promise.race([this.#shardCountKnown.promise, late])
    } finally {
      over.abort(new Error('known'))
    }
  }

  /** Resolves when the gateway has handed it to Discord; of member requests when it will. @throws ConsumerError */
  async send(shardId: number, payload: GatewaySendPayload): Promise<void> {
    if (this.#sender === undefined) {
      throw new ConsumerError(
        'CONSUMER_BAD_OPTION',
        'commands is not given: name the address of the gateway’s gRPC, to which send() goes.',
        { option: 'commands' },
      )
    }
    await this.#sender.send(shardId, payload)
  }

  async #onEvent(event: ConsumedEvent): Promise<void> {
    if (event.shardCount !== null) this.#learnShardCount(event.shardCount)
    const payload = { op: 0, t: event.t, s: event.sequence ?? 0, d: event.d }
    const shardId = event.shardId ?? this.#shardOf(event)
    for (const listener of this.#listeners) {
      await listener(payload as GatewayDispatchPayload, shardId)
    }
    await this.#options.handled?.()
  }

  #shardOf(event: ConsumedEvent): number {
    const guildId = guildOf(event.t, event.d)
    // Events without a guild come to shard 0, and without a count there is nothing to tell it by.
    if (guildId === null || this.#shardCount === undefined) return 0
    return shardOfGuild(BigInt(guildId), this.#shardCount)
  }

  #learnShardCount(shardCount: number): void {
    this.#shardCount = shardCount
    this.#shardCountKnown.resolve(shardCount)
  }
}
