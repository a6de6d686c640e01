/** A simulated Discord and two workers of a fleet that hold a shard each, with everything that takes commands. */
import {
  type Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { MemoryClaims } from '../../src/cluster/index.ts'
import { memoryCounters, Secret, silentLog, systemClock } from '../../src/base/index.ts'
import { ALL_INTENTS } from '../../src/discord/index.ts'
import {
  Commands,
  commandsDefinition,
  commandsService,
  type PeerDirectory,
  Peers,
  startGrpcServer,
} from '../../src/server/index.ts'
import { startSim, type Sim } from '../../sim/index.ts'
import { until } from '../support/until.ts'
import { World } from '../shard/world.ts'

export const SHARDS = 2
const TOKEN = 'backend-secret-7'

interface CommandWorker {
  readonly peer: { id: string; address: string }
  readonly commands: Commands
  readonly close: () => Promise<void>
}

export interface CommandsWorld {
  readonly sim: Sim
  readonly world: World
  readonly workers: readonly CommandWorker[]
  /** A guild of the shard, the largest first. */
  guild(shard: number): bigint
  /** A channel of the guild that its bot may join. */
  channel(guildId: bigint): bigint
  stop(): Promise<void>
}

/** `d` objects of the guilds, as the simulator's world has them. */
interface GuildFacts {
  readonly members: readonly unknown[]
  readonly channels: readonly { readonly id: bigint; readonly type: number }[]
}

const VOICE_CHANNEL = 2

/** One kept connection, of guild 7. */
async function* voiceOf(
  guildIds: readonly bigint[],
): AsyncGenerator<{ guildId: bigint; state: Buffer; server: Buffer; updatedAtMs: number }> {
  if (guildIds.length > 0 && !guildIds.includes(7n)) return
  const state = { channel_id: '9', user_id: '8', session_id: 'v' }
  yield {
    guildId: 7n,
    state: Buffer.from(JSON.stringify(state)),
    server: Buffer.from(JSON.stringify({ token: 't0k3n', endpoint: null })),
    updatedAtMs: 1234,
  }
}

export async function startCommandsWorld(
  options: { intents?: number; backendToken?: null } = {},
): Promise<CommandsWorld> {
  const { intents = ALL_INTENTS } = options
  const sim = await startSim({
    shards: SHARDS,
    guilds: 8,
    maxConcurrency: SHARDS,
    rate: 0,
    seed: 11,
    heartbeatIntervalMs: 30_000,
  })
  const world = new World()
  world.shardCount = SHARDS
  const guilds = (shard: number): bigint[] => sim.world.guildIds(shard, SHARDS)
  const channels = new Map<bigint, bigint>()
  const workers: CommandWorker[] = []
  for (let shard = 0; shard < SHARDS; shard++) workers.push(await startWorker(shard))

  async function startWorker(shard: number): Promise<CommandWorker> {
    const manager = world.manager(sim.gatewayUrl, {
      token: sim.token,
      intents,
      claims: new MemoryClaims({
        epoch: 1,
        start: shard,
        stop: shard + 1,
        shardCount: SHARDS,
        holds: () => Promise.resolve(true),
      }),
    })
    const peer = { id: `w${shard}`, address: '' }
    const directory: PeerDirectory = {
      self: peer,
      others: () => workers.map((worker) => worker.peer).filter(({ id }) => id !== peer.id),
      ownerOf: (shardId) => workers[shardId]?.peer ?? null,
    }
    const peers = new Peers(directory, { clock: systemClock, log: silentLog })
    const definition = commandsDefinition()
    const backendToken = new Secret(TOKEN)
    const commands = new Commands({
      shards: manager,
      guildOfChannel: (channelId) => Promise.resolve(channels.get(channelId) ?? null),
      peers,
      definition: definition.service,
      shardCount: SHARDS,
      intents,
      backendToken,
      counters: memoryCounters(),
    })
    const server = await startGrpcServer({
      address: '127.0.0.1:0',
      flag: 'addr',
      control: {
        version: '',
        stats: () => [],
        restartShard: () => Promise.resolve(),
        requestGuildMembers: () => Promise.resolve(),
      },
      peers,
      services: [
        commandsService({
          commands,
          definition,
          peers,
          backendToken: options.backendToken === null ? null : backendToken,
          voice: { read: (guildIds) => voiceOf(guildIds) },
          log: silentLog,
        }),
      ],
      clock: systemClock,
      log: silentLog,
    })
    peer.address = server.address
    await until(() => manager.status()[0]?.state === 'ready', { timeoutMs: 10_000 })
    const close = async (): Promise<void> => {
      peers.close()
      await server.close()
    }
    return { peer, commands, close }
  }

  const facts = (guildId: bigint): GuildFacts =>
    (sim.world as unknown as { guild(id: bigint): GuildFacts }).guild(guildId)
  return {
    sim,
    world,
    workers,
    guild: (shard) =>
      guilds(shard).toSorted((a, b) => facts(b).members.length - facts(a).members.length)[0]!,
    channel(guildId) {
      const { id } = facts(guildId).channels.find(({ type }) => type === VOICE_CHANNEL)!
      channels.set(id, guildId)
      return id
    },
    async stop() {
      for (const { close } of workers) await close()
      await world.stop()
      await sim.stop()
    },
  }
}

export type Answer = Readonly<Record<string, unknown>>

/** A backend's client of proto/commands.proto. */
export class Backend {
  readonly #client: Client
  readonly #metadata = new Metadata()

  constructor(address: string, token: string | null = TOKEN) {
    const { protoFile } = commandsDefinition()
    const loaded = loadSync(protoFile, { keepCase: true, longs: String, enums: String })
    const { gateway } = loadPackageDefinition(loaded) as unknown as {
      gateway: { v1: { Commands: ServiceClientConstructor } }
    }
    this.#client = new gateway.v1.Commands(address, credentials.createInsecure())
    if (token !== null) this.#metadata.set('authorization', `Bearer ${token}`)
  }

  call(method: string, request: object, deadlineMs = 10_000): Promise<Answer> {
    const stub = this.#client as unknown as Record<
      string,
      (
        request: object,
        metadata: Metadata,
        options: object,
        done: (error: ServiceError | null, answer: Answer) => void,
      ) => void
    >
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + deadlineMs }
      stub[method]!(request, this.#metadata, options, (error, answer) => {
        if (error === null) resolve(answer)
        else reject(error)
      })
    })
  }

  /** Every message of a stream, to its end. */
  async stream(method: string, request: object): Promise<Answer[]> {
    const stub = this.#client as unknown as Record<
      string,
      (request: object, metadata: Metadata) => AsyncIterable<Answer>
    >
    const answers: Answer[] = []
    for await (const answer of stub[method]!(request, this.#metadata)) answers.push(answer)
    return answers
  }

  close(): void {
    this.#client.close()
  }
}
