/**
 * Carries out commands of backends: finds the shards that they are for, sends on those of this process, and passes the
 * rest to the workers that hold them, as a gRPC call of the same service that is meant for that worker alone.
 */
import { Metadata, type ServiceDefinition } from '@grpc/grpc-js'
import { BaseError, type Counters, type Secret } from '../../base/index.ts'
import { INTENTS, Opcode, shardOfGuild } from '../../discord/index.ts'
import type { Command, MembersProgress, MembersWanted, Ticket } from '../../shard/index.ts'
import { ServerError } from '../errors.ts'
import type { Peer, Peers } from '../peers.ts'
import {
  type CommandAnswer,
  type MembersAnswer,
  answerFrom,
  membersAnswer,
  refusalOf,
} from './answer.ts'
import type {
  BackendCommand,
  GuildTarget,
  RequestGuildMembers,
  RequestSoundboardSounds,
  UpdatePresence,
} from './command.ts'

/** The shards of this process; the shard manager has this shape. */
export interface CommandShards {
  submit(shardId: number, command: Command): Ticket
  requestMembers(
    shardId: number,
    wanted: MembersWanted,
    listener: (progress: MembersProgress) => void,
  ): void
}

export interface CommandsDeps {
  readonly shards: CommandShards
  /** From the cache; null: it does not know the channel. */
  readonly guildOfChannel: (channelId: bigint) => Promise<bigint | null>
  readonly peers: Peers
  /** Of gateway.v1.Commands. */
  readonly definition: ServiceDefinition
  readonly shardCount: number
  readonly intents: number
  /** What the workers of the fleet ask of callers; they have the same configuration. */
  readonly backendToken: Secret | null
  readonly counters: Counters
}

export interface CallOptions {
  /** The call was passed on by another worker: it is for this process alone. */
  readonly isPassed?: boolean
  /** The caller no longer waits: what it waited for and is not sent is taken back. */
  readonly signal?: AbortSignal
}

/** Guild ids of one op 31: 20 digits and the term's header each, within 4,096 bytes. */
const SOUNDBOARD_GUILDS_MAX = 150
/** Of an answer to a command that was refused before its shards were known. */
const NO_SHARD = -1

export class Commands {
  readonly #deps: CommandsDeps

  constructor(deps: CommandsDeps) {
    this.#deps = deps
  }

  get shardCount(): number {
    return this.#deps.shardCount
  }

  /**
   * Every command but RequestGuildMembers.
   *
   * @returns an answer per shard, by shard.
   */
  async run(
    command: Exclude<BackendCommand, RequestGuildMembers>,
    options: CallOptions = {},
  ): Promise<CommandAnswer[]> {
    let answers: CommandAnswer[]
    try {
      answers = await this.#run(command, options)
    } catch (error) {
      if (!(error instanceof BaseError)) throw error
      answers = [{ shard: NO_SHARD, ...refusalOf(error) }]
    }
    for (const { outcome } of answers) this.#count(command.name, outcome)
    return answers.sort((a, b) => a.shard - b.shard)
  }

  /**
   * RequestGuildMembers: tells of each change; DONE or REFUSED is the last.
   *
   * @returns when it is through.
   */
  async requestMembers(
    command: RequestGuildMembers,
    onAnswer: (answer: MembersAnswer) => void,
    options: CallOptions = {},
  ): Promise<void> {
    const tell = (answer: MembersAnswer): void => {
      if (answer.outcome === 'DONE' || answer.outcome === 'REFUSED') {
        this.#count(command.name, answer.outcome)
      }
      onAnswer(answer)
    }
    try {
      await this.#requestMembers(command, tell, options)
    } catch (error) {
      if (!(error instanceof BaseError)) throw error
      tell({ shard: NO_SHARD, ...refusalOf(error) })
    }
  }

  async #requestMembers(
    command: RequestGuildMembers,
    tell: (answer: MembersAnswer) => void,
    options: CallOptions,
  ): Promise<void> {
    const { shards, shardCount, intents } = this.#deps
    const { query, limit, userIds, presences, nonce } = command
    const isWhole = userIds === null && query === '' && limit === 0
    if (isWhole && (intents & INTENTS.GUILD_MEMBERS) === 0) {
      throw new ServerError(
        'SERVER_INTENT_MISSING',
        'All members of a guild need the intent GUILD_MEMBERS, which -intents does not have.',
      )
    }
    const guildId = await this.#guildOf(command.target)
    const shard = shardOfGuild(guildId, shardCount)
    const peer = options.isPassed === true ? null : this.#deps.peers.ownerOf(shard)
    if (peer !== null) {
      await this.#passMembers(peer, shard, guildId, command, tell, options)
      return
    }
    await new Promise<void>((resolve) => {
      options.signal?.addEventListener('abort', () => resolve(), { once: true })
      const listener = (progress: MembersProgress): void => {
        if (options.signal?.aborted !== true) tell(membersAnswer(shard, guildId, progress))
        if (progress.outcome === 'DONE' || progress.outcome === 'REFUSED') resolve()
      }
      try {
        const which = userIds === null ? { query, limit } : { userIds }
        shards.requestMembers(shard, { guildId, ...which, presences, nonce }, listener)
      } catch (error) {
        if (!(error instanceof BaseError)) throw error
        tell({ shard, guild_id: guildId.toString(), ...refusalOf(notHere(shard, error)) })
        resolve()
      }
    })
  }

  async #run(
    command: Exclude<BackendCommand, RequestGuildMembers>,
    options: CallOptions,
  ): Promise<CommandAnswer[]> {
    const { shardCount } = this.#deps
    switch (command.name) {
      case 'UpdatePresence':
        return this.#updatePresence(command, options)
      case 'RequestSoundboardSounds':
        return this.#requestSounds(command, options)
      case 'UpdateVoiceState': {
        const { channelId, selfMute, selfDeaf, wait } = command
        const guildId = await this.#guildOf(command)
        const shard = shardOfGuild(guildId, shardCount)
        const peer = this.#peerOf(shard, options)
        if (peer !== null) {
          const request = {
            guild_id: guildId.toString(),
            ...(channelId === null ? {} : { channel_id: channelId.toString() }),
            self_mute: selfMute,
            self_deaf: selfDeaf,
            wait,
          }
          return this.#pass(peer, command.name, request, [shard], options)
        }
        const d = {
          guild_id: guildId.toString(),
          channel_id: channelId?.toString() ?? null,
          self_mute: selfMute,
          self_deaf: selfDeaf,
        }
        return [await this.#send(shard, Opcode.VoiceStateUpdate, d, wait, options)]
      }
      case 'RequestChannelInfo': {
        const { fields, wait } = command
        const guildId = await this.#guildOf(command.target)
        const shard = shardOfGuild(guildId, shardCount)
        const peer = this.#peerOf(shard, options)
        if (peer !== null) {
          const request = { guild_id: guildId.toString(), fields, wait }
          return this.#pass(peer, command.name, request, [shard], options)
        }
        const d = { guild_id: guildId.toString(), fields }
        return [await this.#send(shard, Opcode.RequestChannelInfo, d, wait, options)]
      }
    }
  }

  async #updatePresence(
    { presence, shards, guildIds, channelIds, wait }: UpdatePresence,
    options: CallOptions,
  ): Promise<CommandAnswer[]> {
    const wanted = new Set(shards)
    for (const guildId of await this.#guildsOf(guildIds, channelIds)) {
      wanted.add(shardOfGuild(guildId, this.#deps.shardCount))
    }
    const isAll = shards.length + guildIds.length + channelIds.length === 0
    if (isAll) for (let shard = 0; shard < this.#deps.shardCount; shard++) wanted.add(shard)
    return this.#perPeer(
      [...wanted],
      options,
      (shard) => this.#send(shard, Opcode.PresenceUpdate, presence, wait, options),
      (peer, own) => {
        const request = { presence: absentLeftOut(presence), shards: own, wait }
        return this.#pass(peer, 'UpdatePresence', request, own, options)
      },
    )
  }

  async #requestSounds(
    { guildIds, channelIds, wait }: RequestSoundboardSounds,
    options: CallOptions,
  ): Promise<CommandAnswer[]> {
    const byShard = Map.groupBy(await this.#guildsOf(guildIds, channelIds), (guildId) =>
      shardOfGuild(guildId, this.#deps.shardCount),
    )
    const idsOf = (shard: number): string[] => byShard.get(shard)!.map(String)
    return this.#perPeer(
      [...byShard.keys()],
      options,
      async (shard) => {
        const ids = idsOf(shard)
        let answer: CommandAnswer | null = null
        for (let from = 0; from < ids.length; from += SOUNDBOARD_GUILDS_MAX) {
          const d = { guild_ids: ids.slice(from, from + SOUNDBOARD_GUILDS_MAX) }
          answer = await this.#send(shard, Opcode.RequestSoundboardSounds, d, wait, options)
          if (answer.outcome === 'REFUSED') break
        }
        return answer!
      },
      (peer, own) => {
        const request = { guild_ids: own.flatMap(idsOf), wait }
        return this.#pass(peer, 'RequestSoundboardSounds', request, own, options)
      },
    )
  }

  async #perPeer(
    shards: readonly number[],
    options: CallOptions,
    send: (shard: number) => Promise<CommandAnswer>,
    pass: (peer: Peer, shards: number[]) => Promise<CommandAnswer[]>,
  ): Promise<CommandAnswer[]> {
    const own: number[] = []
    const others = new Map<string, { peer: Peer; shards: number[] }>()
    for (const shard of shards) {
      const peer = this.#peerOf(shard, options)
      if (peer === null) own.push(shard)
      else if (others.has(peer.id)) others.get(peer.id)!.shards.push(shard)
      else others.set(peer.id, { peer, shards: [shard] })
    }
    const answers = await Promise.all([
      ...own.map(send),
      ...[...others.values()].map(({ peer, shards: theirs }) => pass(peer, theirs)),
    ])
    return answers.flat()
  }

  /** Waits only for what may be sent at once, unless the caller wants to know. */
  async #send(
    shard: number,
    op: number,
    d: unknown,
    wait: boolean,
    { signal }: CallOptions,
  ): Promise<CommandAnswer> {
    try {
      const lane = op === Opcode.PresenceUpdate ? 'presence' : 'direct'
      const ticket = this.#deps.shards.submit(shard, { lane, op, d })
      if (ticket.position > 0 && !wait) {
        const { position, waitMs } = ticket
        return { shard, outcome: 'QUEUED', position, wait_ms: waitMs }
      }
      if (signal?.aborted === true) ticket.withdraw()
      else signal?.addEventListener('abort', () => ticket.withdraw(), { once: true })
      await ticket.sent
      return { shard, outcome: 'DONE' }
    } catch (error) {
      if (error instanceof BaseError) return { shard, ...refusalOf(notHere(shard, error)) }
      throw error
    }
  }

  /** What the other worker answers; a REFUSED per shard when it does not. */
  async #pass(
    peer: Peer,
    name: string,
    request: object,
    shards: readonly number[],
    { signal }: CallOptions,
  ): Promise<CommandAnswer[]> {
    const { peers, definition } = this.#deps
    const method = definition[name]!
    try {
      const answer = await peers.call<object>(peer, method, request, this.#metadata(), signal)
      const answers = 'answers' in answer ? (answer.answers as object[]) : [answer]
      return answers.map((one) => answerFrom<CommandAnswer>(one))
    } catch (error) {
      if (!(error instanceof BaseError)) throw error
      return shards.map((shard) => ({ shard, ...refusalOf(error) }))
    }
  }

  async #passMembers(
    peer: Peer,
    shard: number,
    guildId: bigint,
    { query, limit, userIds, presences, nonce }: RequestGuildMembers,
    tell: (answer: MembersAnswer) => void,
    { signal }: CallOptions,
  ): Promise<void> {
    const { peers, definition } = this.#deps
    const request = {
      guild_id: guildId.toString(),
      query,
      limit,
      user_ids: userIds?.map(String) ?? [],
      presences,
      nonce,
    }
    const method = definition['RequestGuildMembers']!
    try {
      const onMessage = (message: object): void => tell(answerFrom<MembersAnswer>(message))
      await peers.read<object>(peer, method, request, this.#metadata(), onMessage, signal)
    } catch (error) {
      if (!(error instanceof BaseError)) throw error
      tell({ shard, guild_id: guildId.toString(), ...refusalOf(error) })
    }
  }

  #metadata(): Metadata {
    const metadata = new Metadata()
    const { backendToken } = this.#deps
    if (backendToken !== null) metadata.set('authorization', `Bearer ${backendToken.reveal()}`)
    return metadata
  }

  /** Null: this process, or nobody, whom it speaks for then. */
  #peerOf(shard: number, { isPassed }: CallOptions): Peer | null {
    return isPassed === true ? null : this.#deps.peers.ownerOf(shard)
  }

  async #guildOf({ guildId, channelId }: GuildTarget): Promise<bigint> {
    if (guildId !== null) return guildId
    const found = await this.#deps.guildOfChannel(channelId!)
    if (found !== null) return found
    throw new ServerError(
      'SERVER_CHANNEL_UNKNOWN',
      `The cache does not know the channel ${channelId}. Name its guild instead.`,
      { channelId: String(channelId) },
    )
  }

  async #guildsOf(
    guildIds: readonly bigint[],
    channelIds: readonly bigint[],
  ): Promise<ReadonlySet<bigint>> {
    const found = channelIds.map((channelId) => this.#guildOf({ guildId: null, channelId }))
    return new Set([...guildIds, ...(await Promise.all(found))])
  }

  #count(command: string, outcome: string): void {
    const labels = { command, outcome: outcome.toLowerCase() }
    this.#deps.counters.counter('gateway_commands_total', labels).value++
  }
}

/** This process was asked because no other worker holds the shard. */
function notHere(shard: number, error: BaseError): BaseError {
  if (error.code !== 'SHARD_NOT_OWNED') return error
  const message = `No worker holds shard ${shard} at the moment. Try again.`
  const options = { cause: error, retryable: true }
  return new ServerError('SERVER_SHARD_NOT_FOUND', message, { shard }, options)
}

/** `since: null` is an absent field of the message. */
function absentLeftOut(presence: UpdatePresence['presence']): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(presence).filter(([, value]) => value !== null))
}
