/** Joins the rooms: database → fleet → destinations → Discord → shards → listeners. */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type Clock, type Log, type Random, retryAtStart, within } from '../../src/base/index.ts'
import {
  ChannelGuilds,
  createCacheWriter,
  type Database,
  Fleet,
  GuildMembership,
  IdentifyLog,
  IncompleteGuilds,
  isAdopted,
  migrate,
  openDatabase,
  SessionStore,
  SpillStore,
  StateEditor,
  StateReader,
  VoiceReader,
  VoiceSeal,
  VoiceStore,
} from '../../src/cache/index.ts'
import { IdentifyBudget, MemoryIdentifyGate } from '../../src/cluster/index.ts'
import { ConfigError, type DestinationConfig, type GatewayConfig } from '../../src/config/index.ts'
import {
  GATEWAY_VERSION,
  intentNames,
  INTENTS,
  shardOfGuild,
  userIdOfToken,
} from '../../src/discord/index.ts'
import {
  CommandSource,
  eventsService,
  Push,
  SpillLedger,
  SpillThread,
  SubscribeDestination,
  type Undelivered,
} from '../../src/push/index.ts'
import {
  activityService,
  advertisedAddress,
  Commands,
  commandsDefinition,
  commandsService,
  fleetService,
  JsonCommands,
  Peers,
  startGrpcServer,
  startHttpServer,
} from '../../src/server/index.ts'
import {
  AckMarks,
  Delivery,
  type FenceStore,
  fetchGatewayBot,
  Gaps,
  type GatewayBot,
  GuildLifecycle,
  isWholeListNonce,
  MemberFill,
  type SessionStore as ShardSessionStore,
  type ShardError,
  ShardManager,
} from '../../src/shard/index.ts'
import { keepRecent, type Metrics } from '../../src/telemetry/index.ts'
import { ownActivity } from './activity.ts'
import { openCluster } from './cluster.ts'
import { ManagerControl } from './control.ts'
import { FleetDashboard } from './dashboard.ts'
import { GatewayHealth } from './health.ts'
import { ProcessFleetControl } from './fleet-control.ts'
import { wireDestination, type WiredDestination } from './destinations.ts'
import { DestinationsReload } from './reload.ts'

export interface GatewayDeps {
  readonly version: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  /** As the configuration says now. @throws ConfigError */
  readonly readDestinations: () => readonly DestinationConfig[]
  /** Ends the start-up. */
  readonly signal: AbortSignal
}

export interface RunningGateway {
  /** Resolves when Discord closed a shard for good. */
  readonly fatal: Promise<ShardError>
  /** Reads the destinations again. */
  reload(): Promise<void>
  /** Stops reading, flushes, saves, closes resumably; within 10 s whatever hangs. */
  stop(): Promise<void>
}

/** Of the 10 s that a stop may take; what is left then is said and lies behind Discord's replay. */
const CACHE_DRAIN_MS = 2000
const PUSH_DRAIN_MS = 2000
const CLOSE_MS = 1000
/** A destination that a reload removes delivers what it can within this. */
const REMOVED_DRAIN_MS = 10_000
/** Lines of the log that the dashboard shows. */
const HAPPENINGS_MAX = 50
/** A session is stored when the cache has taken its READY; the shard tries again when that takes longer. */
const READY_FLUSH_MS = 1500
/** A permit does not wait longer for Discord's word on the budget; the recorded identifies count then. */
const LIMIT_DEADLINE_MS = 5000

/** @throws BaseError of the room that could not start, with the cure in its message. */
export async function startGateway(
  config: GatewayConfig,
  deps: GatewayDeps,
): Promise<RunningGateway> {
  const closers: (() => Promise<void>)[] = []
  try {
    return await start(config, deps, closers)
  } catch (error) {
    for (const close of closers.reverse()) await close().catch(() => undefined)
    throw error
  }
}

async function start(
  config: GatewayConfig,
  deps: GatewayDeps,
  closers: (() => Promise<void>)[],
): Promise<RunningGateway> {
  const { clock, random, metrics, version } = deps
  const { log, recent } = keepRecent(deps.log, clock, HAPPENINGS_MAX)
  const common = { clock, random, log, counters: metrics }
  const worker = `${config.name}${config.podId === '' ? '' : `-${config.podId}`}`
  const userAgent = `DiscordBot (https://github.com/tatsuworks/gateway, ${version})`
  const botUserId = userIdOfToken(config.token.reveal())
  if (botUserId === null) {
    throw new ConfigError(
      'CONFIG_BAD_TOKEN',
      "the token does not look like a bot's: its first part is not a user id. Copy it again from the Developer Portal (Bot > Reset Token).",
    )
  }

  const database = await openDatabase(
    config.psql === null ? { dataDir: config.dataDir } : { url: config.psql, name: worker },
    common,
  )
  closers.push(() => database.close())
  if (config.psql === null) {
    log.info('keeping state in the embedded store: it survives a crash, not a power cut', {
      folder: database.address,
    })
  } else {
    log.info('connected to Postgres', { address: database.address })
  }
  // Postgres has answered, but may go away again while everything starts.
  const withPostgres = <T>(work: () => Promise<T>): Promise<T> =>
    retryAtStart({ what: 'Postgres', clock, random, log, signal: deps.signal }, work)
  const fleet = await withPostgres(async () => {
    await migrate(database, { log })
    await refuseUnsaidEncoding(config, database)
    return Fleet.open(database, { name: config.name, botUserId: BigInt(botUserId) })
  })

  const bot = await fetchGatewayBot({
    api: config.discordApi,
    token: config.token,
    userAgent,
    clock,
    random,
    log,
    signal: deps.signal,
  })
  log.info('reached Discord', {
    api: config.discordApi,
    url: bot.url,
    shards: bot.shards,
    identifiesLeft: bot.sessionStartLimit.remaining,
    maxConcurrency: bot.sessionStartLimit.maxConcurrency,
  })
  const { added, removed } = await withPostgres(() => fleet.saveCached(config.cacheKinds))
  if (added.length + removed.length > 0) {
    log.warn('-cache changed: what was not kept is unknown until Discord sends the guilds again', {
      added,
      removed,
    })
  }
  const shardCount = await decideShape(config, fleet, bot, log)

  const gaps = new Gaps({
    clock,
    log,
    counters: metrics,
    onLost: (shardId) => markMissed(shardId),
  })
  let markMissed: (shardId: number) => void = () => undefined
  const marks = new AckMarks(shardCount)
  const thread = new SpillThread()
  const ledger = new SpillLedger()
  closers.push(() => thread.close())
  const wire = (destination: DestinationConfig): Promise<WiredDestination> =>
    wireDestination(destination, {
      ...common,
      connectionName: worker,
      fleetId: fleet.id,
      spill: { folder: join(config.dataDir, 'spill', fleet.id), thread, ledger },
      lane: () => marks.lane(),
      removeLane: (lane) => marks.remove(lane),
      onDrop: (drop) => gaps.drop(drop),
    })
  const wired = await Promise.all(config.destinations.map(wire))
  const subscribe = wired
    .map(({ destination }) => destination)
    .find((destination) => destination instanceof SubscribeDestination)
  const push = new Push(wired.map(({ destination }) => destination))
  const { readDestinations: read } = deps
  const destinations = new DestinationsReload(wired, {
    ...common,
    read,
    wire,
    push,
    drainMs: REMOVED_DRAIN_MS,
  })
  closers.push(() => Promise.resolve(destinations.close()))
  closers.push(async () => void (await push.drain(0)))
  await push.start()

  const writer = await withPostgres(() =>
    createCacheWriter({
      ...common,
      database,
      fleet,
      kinds: config.cacheKinds,
      isWholeList: isWholeListNonce,
      intents: config.intents,
      shardCount,
      onGap: ({ from, ...gap }) => gaps.drop({ ...gap, sequence: from, destination: 'cache' }),
      onFenceLost: (shardId) => manager.lose(shardId),
    }),
  )
  closers.push(() => writer.close())
  markMissed = (shardId) => writer.markMissed(shardId)
  const lifecycle = new GuildLifecycle({
    membership: new GuildMembership({ database, fleet }),
    log,
    onLeft: (shardId, guildIds, isDoubtful) => writer.writeLeft(shardId, guildIds, isDoubtful),
  })
  const delivery = new Delivery({ cache: writer, push, cacheAck: marks.lane() })

  const seal = new VoiceSeal(config.token)
  const voice = new VoiceStore({
    ...common,
    database,
    fleetName: fleet.name,
    botUserId: fleet.botUserId,
    shardCount,
    seal,
    acks: marks.lane(),
  })
  closers.push(() => voice.close())

  const store = new SessionStore({
    database,
    fleet,
    owner: config.podId === '' ? `${worker}@${hostname()}` : worker,
    log,
  })
  const sessions: ShardSessionStore = {
    // From the take-over on, rows of the shard are written under its fence.
    async takeOver(shardId, fence) {
      const taken = await store.takeOver(shardId, fence)
      if (taken.owned) {
        writer.claim(shardId, fence)
        voice.claim(shardId, fence)
      }
      return taken
    },
    // What READY says of the shard's guilds first: a session that is resumed without it would take every
    // replayed GUILD_CREATE for a join.
    async saveSession(shardId, fence, session) {
      if (!(await within(clock, writer.flush(shardId), READY_FLUSH_MS))) {
        throw new Error('the cache has not committed what READY says')
      }
      return store.saveSession(shardId, fence, session)
    },
    dropSession: (shardId, fence, sessionId) => store.dropSession(shardId, fence, sessionId),
    saveAcknowledged: (entries, spills) => store.saveAcknowledged(entries, spills),
    holds: (shardId, fence) => store.holds(shardId, fence),
  }

  const fences: FenceStore = fleet
  const identifyLog = new IdentifyLog({ database, fleet })
  const limit = bot.sessionStartLimit
  const budget = new IdentifyBudget({
    log: identifyLog,
    fetchLimit: async () =>
      (
        await fetchGatewayBot({
          api: config.discordApi,
          token: config.token,
          userAgent,
          clock,
          random,
          log,
          deadlineMs: LIMIT_DEADLINE_MS,
        })
      ).sessionStartLimit,
    limit,
    clock,
    logger: log,
    reserve: Math.floor((limit.total * config.identifyReservePercent) / 100),
    breakerMax: config.identifyBreakerCount,
  })
  const localGate = new MemoryIdentifyGate({
    ...common,
    maxConcurrency: limit.maxConcurrency,
    budget,
    identifyLog,
    worker,
  })
  const cluster = await withPostgres(() =>
    openCluster(config, {
      ...common,
      fences,
      holds: (shardId, fence) => sessions.holds(shardId, fence),
      localGate,
      version,
      botUserId,
      shardCount,
      maxConcurrency: limit.maxConcurrency,
      signal: deps.signal,
    }),
  )
  closers.push(() => cluster.close())
  let onFatal: (error: ShardError) => void = () => undefined
  const fatal = new Promise<ShardError>((resolve) => {
    onFatal = resolve
  })
  // Without either there is nothing to fetch, or nowhere to keep it.
  const fillsMembers =
    (config.intents & INTENTS.GUILD_MEMBERS) !== 0 && config.cacheKinds.includes('members')
  const fill: MemberFill = new MemberFill({
    ...common,
    guilds: new IncompleteGuilds(database, shardCount),
    shards: {
      readyShards: () => manager.readyShards(),
      requestMembers: (...request) => manager.requestMembers(...request),
    },
    shardOf: (guildId) => shardOfGuild(guildId, shardCount),
    membersMax: config.membersMax,
  })
  closers.push(() => Promise.resolve(fill.stop()))
  const manager: ShardManager = new ShardManager({
    ...common,
    settings: {
      token: config.token,
      shardCount,
      intents: config.intents,
      query: { v: GATEWAY_VERSION, encoding: config.upstream, compress: config.compress },
      gatewayUrl: bot.url,
      // As the ancestor identifies.
      largeThreshold: 250,
      presence: { since: null, activities: [], status: 'online', afk: false },
    },
    claims: cluster.claims,
    gate: cluster.gate,
    sessions,
    sink: delivery,
    marks,
    lifecycle,
    gaps,
    spills: ledger,
    observers: fillsMembers ? [voice, fill] : [voice],
    userAgent,
    onFatal,
    hasShardSeries: config.hasShardMetrics,
  })
  const startedAt = clock.monotonic()
  metrics.gauge('gateway_build_info', () => 1, { version, node: process.versions.node })
  metrics.gauge('gateway_uptime_seconds', () => (clock.monotonic() - startedAt) / 1000)
  metrics.gauge('gateway_guilds_awaited', () => lifecycle.awaitedCount(clock.now()))

  const control = new ManagerControl({ version, manager, shardCount, clock })
  closers.push(() => Promise.resolve(control.stop()))
  const fleetControl = new ProcessFleetControl({
    cluster: cluster.fleet,
    manager: control,
    budget,
    gate: localGate,
    identifyLog,
    spills: new SpillStore({ database, fleet }),
    ledger,
    gaps,
    database,
    shardCount,
    clock,
  })
  const peers = new Peers(cluster.directory, common)
  closers.push(() => Promise.resolve(peers.close()))
  const { backendToken } = config
  const definition = commandsDefinition()
  const channels = new ChannelGuilds(database)
  const commands = new Commands({
    shards: manager,
    guildOfChannel: (channelId) => channels.guildOf(channelId),
    peers,
    definition: definition.service,
    shardCount,
    intents: config.intents,
    backendToken,
    counters: metrics,
  })
  const json = new JsonCommands({ commands, clock, log })
  const commandSource =
    config.commands === null
      ? null
      : new CommandSource({
          ...common,
          form: config.commands.form,
          address: config.commands.address.reveal(),
          key: config.commands.key,
          connectionName: worker,
          handle: (text, reply) => json.handle(text, reply),
        })
  if (commandSource !== null) closers.push(() => commandSource.stop())
  let grpcAddress = ''
  let dashboard: FleetDashboard | null = null
  if (config.grpcAddress !== null) {
    const server = await startGrpcServer({
      address: config.grpcAddress,
      flag: 'addr',
      control,
      peers,
      adminToken: config.adminToken,
      services: [
        fleetService({ control: fleetControl, peers, adminToken: config.adminToken, log }),
        activityService({
          own: () =>
            ownActivity({
              worker: fleetControl.workerId,
              metrics,
              stats: () => push.stats(),
              recent,
            }),
          peers,
          log,
        }),
        commandsService({
          commands,
          definition,
          peers,
          backendToken,
          voice: new VoiceReader(database, seal),
          log,
        }),
        ...(subscribe === undefined ? [] : [eventsService(subscribe)]),
      ],
      clock,
      log,
    })
    closers.push(() => server.close())
    dashboard = new FleetDashboard({
      address: loopbackOf(server.address),
      adminToken: config.adminToken,
      clock,
    })
    closers.push(() => Promise.resolve(dashboard?.close()))
    grpcAddress = advertisedAddress(server.address, config.advertise, hostname())
    log.info('serving gRPC', { address: server.address })
  }
  if (config.httpAddress !== null) {
    const health = new GatewayHealth({
      clock,
      shards: () => manager.status(),
      destinations: () => destinations.configs,
      stats: () => push.stats(),
      askDatabase: () => database.query('select 1'),
      guildsAwaited: () => lifecycle.awaitedCount(clock.now()),
      isInFleet: config.etcd !== null,
    })
    closers.push(() => Promise.resolve(health.stop()))
    const server = await startHttpServer({
      address: config.httpAddress,
      flag: 'http',
      version,
      clock,
      log,
      health,
      metrics,
      ...(dashboard === null
        ? {}
        : { dashboard: { source: dashboard, adminToken: config.adminToken } }),
      ...(database.kind === 'embedded'
        ? {
            state: {
              reader: new StateReader(database, clock),
              editor: new StateEditor(database),
              ...(config.readToken === null ? {} : { readToken: config.readToken }),
              ...(config.writeToken === null ? {} : { writeToken: config.writeToken }),
            },
          }
        : {}),
    })
    closers.push(() => server.close())
    log.info('serving HTTP', {
      url: server.url,
      ...(database.kind === 'embedded' ? { state: `${server.url}/v1/events` } : {}),
    })
  }
  await cluster.join(grpcAddress)
  deps.signal.throwIfAborted()
  // Only now is it certain that this start happens.
  for (const { shardId, sessionId, sequence } of await withPostgres(() =>
    fleet.saveShape({ shardCount, intents: config.intents }),
  )) {
    gaps.gap({ shardId, sessionId, from: sequence + 1, to: null, cause: 'session_replaced' })
  }
  manager.start()
  if (fillsMembers) fill.start()
  commandSource?.start()
  log.info('started', {
    shards: shardCount,
    first: config.start,
    behindLast: config.stop ?? shardCount,
  })

  let stopped: Promise<void> | undefined
  return {
    fatal,
    stop: () => (stopped ??= stop()),
    reload: () => destinations.reload(),
  }

  async function stop(): Promise<void> {
    await cluster.drain()
    let undelivered: readonly Undelivered[] = []
    let isCommitted = true
    await manager.stop(async () => {
      const written = Promise.all([writer.flush(), voice.flush()])
      isCommitted = await within(clock, written, CACHE_DRAIN_MS)
      ;({ undelivered } = await push.drain(PUSH_DRAIN_MS))
    })
    gaps.flush()
    const closed = Promise.all(
      closers.map((close) =>
        close().catch((error: unknown) => log.warn('a part did not close', { error })),
      ),
    )
    await within(clock, closed, CLOSE_MS)
    const isSaved = undelivered.every(({ events, spilledEvents }) => events === spilledEvents)
    if (undelivered.length === 0 && isCommitted) {
      log.info('stopped: everything that was read is delivered')
    } else if (isSaved && isCommitted) {
      log.warn('stopped: what is not delivered lies on the disk for the next start', {
        undelivered,
      })
    } else {
      log.warn('stopped: the next start resumes behind what was delivered', {
        undelivered,
        isCacheCommitted: isCommitted,
      })
    }
  }
}

/** Where this process reaches a listener of its own. */
function loopbackOf(address: string): string {
  return address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')
}

/** Bots of an adopted database read what the ancestor pushed: another form is chosen, never slipped in. */
async function refuseUnsaidEncoding(config: GatewayConfig, database: Database): Promise<void> {
  if (config.isEncodingGiven || database.kind === 'embedded') return
  if (!config.destinations.some(({ kind }) => kind === 'redis-list')) return
  if (!(await isAdopted(database))) return
  throw new ConfigError(
    'CONFIG_ENCODING_UNSAID',
    'this database was adopted from tatsuworks/gateway. Give -encoding json, which keeps bots running that it served from Postgres (etf-bare: from FoundationDB), or -encoding etf when they read terms with their version byte.',
  )
}

/** The shard count of this run; what differs from the last run is announced, because it costs identifies. */
async function decideShape(
  config: GatewayConfig,
  fleet: Fleet,
  bot: GatewayBot,
  log: Log,
): Promise<number> {
  const shardCount = config.shardCount ?? fleet.shardCount ?? bot.shards
  if (fleet.shardCount !== null && fleet.shardCount !== shardCount) {
    log.warn('another shard count than the last run: every shard identifies anew', {
      stored: fleet.shardCount,
      shards: shardCount,
      identifiesLeft: bot.sessionStartLimit.remaining,
    })
  }
  if (fleet.intents !== null && fleet.intents !== config.intents) {
    log.warn('other intents than the last run: every shard identifies anew', {
      stored: intentNames(fleet.intents),
      intents: intentNames(config.intents),
      identifiesLeft: bot.sessionStartLimit.remaining,
    })
  }
  if (shardCount !== bot.shards) {
    log.info('Discord recommends another shard count; it is not applied by itself', {
      shards: shardCount,
      recommended: bot.shards,
    })
  }
  return shardCount
}
