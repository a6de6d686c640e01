/**
 * One world: it changes at random in every kind while the parts of a gateway that keep State are told of it, with
 * repeats, lost sessions, kills, replays and failing transactions. At the end State over REST must be what a client can know:
 *
 *   rows     each as the model of a client has it, which is told each event once
 *   marks    `x-complete` as the model has it; and a list that says so has the entries of the world's, no more and no less
 *   subset   without a loss, an incomplete list has nothing that the world has not
 */
import {
  type Random,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../../src/base/index.ts'
import { memoryCounters } from '../../../src/base/index.ts'
import { type Database, migrate, openDatabase, StateReader } from '../../../src/cache/index.ts'
import {
  ALL_INTENTS,
  INTENTS,
  isKindTold,
  STATE_KIND_NAMES,
  type StateKind,
} from '../../../src/discord/index.ts'
import { type HttpServer, startHttpServer } from '../../../src/server/index.ts'
import {
  type JsonObject,
  MUTATION_KINDS,
  type MutationKind,
  type World,
  type WorldEvent,
} from '../../../sim/world/index.ts'
import { ClientModel } from '../../e2e/checker/client-model.ts'
import { readTerm } from '../../e2e/checker/etf-term.ts'
import { checkState, type LedgerLine, type State } from '../../e2e/checker/index.ts'
import { jsonMap, type JsonMap, textOf } from '../../e2e/checker/json-form.ts'
import { RecordedRun } from '../../e2e/checker/recorded-run.ts'
import { PropertyGateway } from './gateway.ts'
import { readOverRest, type RestState } from './rest-state.ts'
import { shakyDatabase } from './shaky-database.ts'

const TABLES =
  'bans, channels, emojis, gateway_fleet, gateway_sessions, guilds, guilds_persistent, members, presence, roles, ' +
  'scheduled_events, soundboard_sounds, stage_instances, threads, voice_states'
const FINDINGS_MAX = 20
/** What the state reader knows of the fleet is older than this at most. */
const MARKS_MS_MAX = 1001

const INTENT_SETS = [
  ALL_INTENTS,
  ALL_INTENTS,
  ALL_INTENTS & ~INTENTS.GUILD_PRESENCES,
  ALL_INTENTS & ~INTENTS.GUILD_MEMBERS,
  ALL_INTENTS & ~INTENTS.GUILD_VOICE_STATES & ~INTENTS.GUILD_EXPRESSIONS,
  ALL_INTENTS & ~INTENTS.GUILD_MODERATION & ~INTENTS.GUILD_SCHEDULED_EVENTS,
]

/** The chances of one step. */
const CHANCES = { repeat: 0.03, flush: 0.05, save: 0.3, loseSession: 0.01, kill: 0.012 }

interface Shape {
  readonly shardCount: number
  readonly intents: number
  readonly kinds: readonly StateKind[]
  readonly steps: number
}

export class PropertyWorlds {
  readonly #database: Database
  readonly #server: HttpServer
  readonly #skew: { ms: number }

  private constructor(database: Database, server: HttpServer, skew: { ms: number }) {
    this.#database = database
    this.#server = server
    this.#skew = skew
  }

  /** @param url  a Postgres database that nobody else uses. */
  static async open(url: string): Promise<PropertyWorlds> {
    const skew = { ms: 0 }
    const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + skew.ms }
    const deps = { clock, random: seededRandom(1), log: silentLog, counters: memoryCounters() }
    const database = await openDatabase({ url: new Secret(url), name: 'property' }, deps)
    await migrate(database, deps)
    const server = await startHttpServer({
      address: '127.0.0.1:0',
      flag: 'addr',
      version: '0',
      clock,
      log: silentLog,
      state: { reader: new StateReader(database, clock) },
    })
    return new PropertyWorlds(database, server, skew)
  }

  async close(): Promise<void> {
    await this.#server.close()
    await this.#database.close()
  }

  /** @returns what is wrong; empty when nothing is. */
  async run(seed: number): Promise<string[]> {
    await this.#database.query(`truncate ${TABLES}`)
    const random = seededRandom(seed)
    const shape: Shape = {
      shardCount: below(random, 3) === 0 ? 2 : 1,
      intents: INTENT_SETS[below(random, INTENT_SETS.length)]!,
      kinds: random() < 0.8 ? STATE_KIND_NAMES : someKinds(random),
      steps: 60 + below(random, 200),
    }
    const world = new RecordedRun({
      seed,
      guilds: 2 + below(random, 4),
      shardCount: shape.shardCount,
      membersMax: 20 + below(random, 100),
      intents: shape.intents,
      largeThreshold: random() < 0.5 ? 250 : 50,
      nastyText: random() < 0.3,
    })
    const told = new Telling(this.#database, world, shape, random)
    await told.everything()
    this.#skew.ms += MARKS_MS_MAX
    const model = new ClientModel(shape.intents)
    const guilds = new Set<string>()
    for (const line of told.known()) {
      const d = jsonMap(readTerm(line.d!))
      if (line.t === 'GUILD_CREATE') guilds.add(textOf(d['id']))
      model.apply(line, d)
    }
    const rest = await readOverRest(`${this.#server.url}/v1/events`, guilds)
    return [
      ...told.unexpected,
      ...kindFindings(shape, rest),
      ...rowFindings(model.state, rest, shape),
      ...markFindings(model, rest),
      ...truthFindings(world, rest, told),
    ].slice(0, FINDINGS_MAX)
  }
}

/** The gateway's side of a world: what it was told, and what it could not keep. */
class Telling {
  readonly unexpected: string[] = []
  /** `guild/user` of who came: what presence they have is told when it changes. */
  readonly joined = new Set<string>()
  hasLost = false
  /** Guilds that had an outage, during which nothing is told. */
  readonly interrupted = new Set<string>()
  readonly #database: Database
  readonly #world: RecordedRun
  readonly #shape: Shape
  readonly #random: Random
  #gateway: PropertyGateway | null = null
  /** Index of the first line that was not delivered yet. */
  #next = 0
  readonly #delivered: LedgerLine[] = []
  readonly #lost = new Set<LedgerLine>()
  readonly #committed = new Set<LedgerLine>()
  /** Per shard: what a take-over resumes behind, what is committed, and the lines behind it. */
  readonly #acknowledged: number[]
  #uncommitted: LedgerLine[] = []

  constructor(database: Database, world: RecordedRun, shape: Shape, random: Random) {
    this.#database = shakyDatabase(database, random)
    this.#world = world
    this.#shape = shape
    this.#random = random
    this.#acknowledged = Array.from({ length: shape.shardCount }, () => 0)
  }

  async everything(): Promise<void> {
    await this.#start()
    await this.#deliver()
    for (let step = 0; step < this.#shape.steps; step++) {
      this.#change()
      await this.#deliver()
      if (this.#happens('flush')) await this.#commit()
      if (this.#happens('loseSession')) await this.#loseSession()
      if (this.#happens('kill')) await this.#kill()
    }
    await this.#deliver()
    await this.#commit()
    await this.#gateway!.kill(false)
  }

  /** What a client knows: each line once, without those that nobody kept. */
  known(): LedgerLine[] {
    return this.#delivered.filter((line) => !this.#lost.has(line))
  }

  #happens(what: keyof typeof CHANCES): boolean {
    return this.#random() < CHANCES[what]
  }

  #change(): void {
    const { world } = this.#world
    // Half of the steps in the mix of a large bot, half of any kind.
    const kind = MUTATION_KINDS[below(this.#random, MUTATION_KINDS.length)]!
    const events = this.#random() < 0.5 ? changeOf(world, kind) : world.step()
    this.#world.tell(events)
    // "Once, or up to N times", each under a sequence of its own.
    if (this.#happens('repeat')) this.#world.tell(events)
  }

  async #start(): Promise<void> {
    const { shardCount, intents, kinds } = this.#shape
    this.#gateway = await PropertyGateway.start({
      database: this.#database,
      random: this.#random,
      shardCount,
      intents,
      kinds,
      unexpected: this.unexpected,
    })
  }

  /** Everything that the sessions were sent since. */
  async #deliver(): Promise<void> {
    const { ledger, ends } = this.#world
    for (; this.#next < ledger.length; this.#next++) {
      const line = ledger[this.#next]!
      const end = ends.find((entry) => entry.session === line.session)
      if (this.#lost.has(line) || (end !== undefined && line.s > end.lastSent)) continue
      this.#gateway!.deliver(line)
      this.#note(line)
      this.#delivered.push(line)
      this.#uncommitted.push(line)
      // A session is stored when its READY is committed, before anybody can resume it.
      if (line.t === 'READY') {
        await this.#commit()
        this.#acknowledged[line.shard] = line.s
      }
    }
  }

  #note(line: LedgerLine): void {
    if (line.t !== 'GUILD_MEMBER_ADD' && line.t !== 'GUILD_DELETE') return
    const { id, guild_id, user } = jsonMap(readTerm(line.d!))
    if (line.t === 'GUILD_DELETE') this.interrupted.add(textOf(id))
    else this.joined.add(`${textOf(guild_id)}/${textOf((user as JsonMap)['id'])}`)
  }

  async #commit(): Promise<void> {
    await this.#gateway!.flush()
    // Sequences are saved by the second: the stored one lags behind what is committed.
    for (const line of this.#uncommitted) {
      this.#committed.add(line)
      if (this.#happens('save')) this.#acknowledged[line.shard] = line.s
    }
    this.#uncommitted = []
  }

  /** Op 9 false: some events that the session still had are never sent. */
  async #loseSession(): Promise<void> {
    const shard = below(this.#random, this.#shape.shardCount)
    this.hasLost = true
    this.#world.loseSession(shard, below(this.#random, 20))
    this.#gateway!.miss(shard)
    await this.#deliver()
  }

  /** kill -9, then a RESUME that brings what was not acknowledged; or a session that has ended meanwhile. */
  async #kill(): Promise<void> {
    const isRefused = this.#random() < 0.3
    // Whether a transaction under way is committed is a matter of luck, which the replay makes good.
    const isWriting = !isRefused && this.#random() < 0.5
    await this.#gateway!.kill(isWriting)
    const lostShard = isRefused ? below(this.#random, this.#shape.shardCount) : -1
    const sessions = new Map<number, string>()
    for (const line of this.#delivered) sessions.set(line.shard, line.session)
    for (let more = below(this.#random, 10); more > 0; more--) this.#change()
    if (isRefused) {
      this.hasLost = true
      for (const line of this.#uncommitted) {
        if (line.shard === lostShard && !this.#committed.has(line)) this.#lost.add(line)
      }
      this.#world.loseSession(lostShard, 0)
      // Sent or not, what came after the kill reached nobody.
      const end = this.#world.ends.at(-1)!
      for (const line of this.#world.ledger.slice(this.#next)) {
        if (line.session === end.session) this.#lost.add(line)
      }
    }
    this.#uncommitted = []
    await this.#start()
    for (const line of this.#delivered) {
      const isReplayed =
        line.shard !== lostShard &&
        line.session === sessions.get(line.shard) &&
        line.s > this.#acknowledged[line.shard]!
      if (!isReplayed) continue
      this.#gateway!.deliver(line)
      this.#uncommitted.push(line)
    }
    if (isRefused) this.#gateway!.miss(lostShard)
    await this.#deliver()
    // From here on it is certain again what is committed.
    if (isWriting) await this.#commit()
  }
}

/** Of the kind, if a guild can have one. */
function changeOf(world: World, kind: MutationKind): WorldEvent[] {
  try {
    return world.mutate(kind)
  } catch (error) {
    if (error instanceof RangeError) return world.step()
    throw error
  }
}

function kindFindings({ kinds }: Shape, rest: RestState): string[] {
  const wanted = STATE_KIND_NAMES.filter(
    (kind) => !kinds.includes(kind) && kind !== 'guilds' && kind !== 'stickers',
  )
  if (rest.complete.size === 0) return []
  const refused = [...rest.refused].sort().join(', ')
  return refused === [...wanted].sort().join(', ') ? [] : [`State refuses ${refused || 'nothing'}`]
}

function rowFindings(expected: State, rest: RestState, { kinds, intents }: Shape): string[] {
  const findings = checkState(expected, rest.state)
  const hasCount = kinds.includes('members') && (intents & INTENTS.GUILD_MEMBERS) !== 0
  return findings
    .filter(({ table, ...finding }) => {
      const kind = table === 'presence' ? 'presences' : table
      if (kind !== 'membership' && !kinds.includes(kind as StateKind)) return false
      const path = 'path' in finding ? finding.path : ''
      // Without rows of members it moves by the sequences alone.
      if (path === '.data.member_count' && !hasCount) return false
      return !(path === '.data.stickers' && !kinds.includes('stickers'))
    })
    .map(({ text }) => text)
}

function markFindings(model: ClientModel, rest: RestState): string[] {
  const findings: string[] = []
  for (const [guild, marks] of rest.complete) {
    for (const [kind, isComplete] of marks) {
      if (isComplete === model.isComplete(kind, guild)) continue
      findings.push(`${kind} of guild ${guild}: x-complete is ${isComplete}`)
    }
  }
  return findings
}

const TRUTH: Readonly<Partial<Record<StateKind, string>>> = {
  channels: 'channels',
  threads: 'threads',
  roles: 'roles',
  emojis: 'emojis',
  members: 'members',
  voice_states: 'voice_states',
  presences: 'presences',
  scheduled_events: 'guild_scheduled_events',
  soundboard_sounds: 'soundboard_sounds',
  stage_instances: 'stage_instances',
}

/** Against the world itself, of which the model knows nothing. */
function truthFindings(run: RecordedRun, rest: RestState, told: Telling): string[] {
  const findings: string[] = []
  for (const [guild, marks] of rest.complete) {
    const ids = Array.from({ length: run.shardCount }, (_, shard) =>
      run.world.guildIds(shard, run.shardCount),
    ).flat()
    if (!ids.includes(BigInt(guild)) || run.world.isUnavailable(BigInt(guild))) continue
    const truth = run.world.guild(BigInt(guild))
    const isUntold = (kind: StateKind, id: string): boolean =>
      kind === 'presences' && told.joined.has(`${guild}/${id}`)
    for (const [kind, isComplete] of marks) {
      const name = TRUTH[kind]
      if (name === undefined) continue
      const isTold = isKindTold(kind, run.view.intents)
      const real = new Set((truth[name] as JsonObject[]).map((entry) => idOf(entry)))
      const hidden = hiddenIds(kind, truth)
      const table = kind === 'presences' ? 'presence' : (kind as 'members')
      const seen = [...rest.state[table].keys()]
        .filter((key) => key.startsWith(`${guild}/`))
        .map((key) => key.slice(guild.length + 1))
      const isSure = isComplete || (isTold && !told.hasLost && !told.interrupted.has(guild))
      const extra = isSure ? seen.filter((id) => !real.has(id) && !hidden.has(id)) : []
      const missing = isComplete
        ? [...real].filter((id) => !seen.includes(id) && !hidden.has(id) && !isUntold(kind, id))
        : []
      if (extra.length + missing.length === 0) continue
      findings.push(
        `${kind} of guild ${guild}, ${isComplete ? 'complete' : 'incomplete'}: too many ${extra.join(' ') || 'none'}, missing ${missing.join(' ') || 'none'}`,
      )
    }
  }
  return findings
}

/** Of a channel that the bot can no longer see, and of its threads, Discord tells nothing more. */
function hiddenIds(kind: StateKind, truth: JsonObject): ReadonlySet<string> {
  const channels = new Set((truth['hidden_channel_ids'] as bigint[]).map(String))
  if (kind === 'channels') return channels
  if (kind !== 'threads') return new Set()
  const threads = (truth['archived_threads'] as JsonObject[]).filter((thread) =>
    channels.has(idText(thread['parent_id'])),
  )
  return new Set(threads.map((thread) => idText(thread['id'])))
}

function idOf(entry: JsonObject): string {
  const user = entry['user'] as JsonObject | undefined
  return idText(entry['sound_id'] ?? entry['id'] ?? user?.['id'] ?? entry['user_id'])
}

function idText(id: JsonObject[string] | undefined): string {
  return textOf(id as bigint)
}

function someKinds(random: Random): StateKind[] {
  return STATE_KIND_NAMES.filter((kind) => kind === 'guilds' || random() < 0.6)
}

function below(random: Random, count: number): number {
  return Math.floor(random() * count)
}
