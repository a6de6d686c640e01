/**
 * The cache's writes into a real Postgres on a core of its own, against what Postgres itself takes and against a
 * statement per event. bench/README.md#cache
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { memoryCounters, Secret, seededRandom, silentLog, systemClock } from '../src/base/index.ts'
import { type Database, migrate, openDatabase } from '../src/cache/index.ts'
import { startPostgres } from '../tests/support/servers.ts'
import { type BenchEvent, BenchWorld, SHARDS } from './cache/events.ts'
import { Recorder, type RecordedTransaction, yesDatabase } from './cache/recorder.ts'
import { BareUpserts, Literals } from './cache/rivals.ts'
import { BENCH_FENCE, BenchWriter } from './cache/writer.ts'
import { bindTo, CONTENDER_CORE, OTHER_CORE, ownSeconds, treeSeconds } from './cores.ts'
import { readBenchFlags } from './flags.ts'
import { median } from './harness.ts'
import { Report } from './report.ts'

const GUILDS = 2000
const LANES = 2
const STEADY_PER_SECOND = 30_000
/** The rival with a statement per event gets so many fewer: its rate is compared. */
const LITERAL_SHARE = 0.1
const CEILING = 'bare upsert of the same rows'
const LITERAL = 'a statement per event'
/** As an operator would set it: durable but not waiting for the disk at each commit. */
const POSTGRES = { synchronous_commit: 'off', shared_buffers: '512MB', max_wal_size: '4GB' }
const TABLES = [
  ['guilds', 'channels', 'threads', 'roles', 'emojis', 'members', 'voice_states', 'presence'],
  ['bans', 'scheduled_events', 'stage_instances', 'soundboard_sounds', 'guilds_persistent'],
].flat()
const COMPARED = TABLES.filter((table) => table !== 'guilds_persistent')

interface Turn {
  readonly seconds: number
  readonly ownSeconds: number
  readonly postgresSeconds: number
  readonly walBytes: number
  readonly stallMs: number
}

const flags = readBenchFlags(process.argv.slice(2), {
  seconds: 3,
  rounds: 3,
  json: false,
  only: '',
})
const report = new Report('cache', flags)
bindTo(OTHER_CORE)
const server = await startPostgres({ settings: POSTGRES })
bindTo(CONTENDER_CORE)
const counters = memoryCounters()
const deps = { clock: systemClock, random: seededRandom(1), log: silentLog, counters }
const database = await openDatabase({ url: new Secret(server.url), name: 'bench' }, deps)
try {
  await run(database)
} catch (error) {
  report.problem('cache', error)
} finally {
  await database.close()
  await server.stop()
}
process.exit(report.finish())

async function run(db: Database): Promise<void> {
  await migrate(db, deps)
  const world = new BenchWorld(GUILDS)
  const storm = world.storm()
  const recorder = new Recorder()
  const ours = await BenchWriter.open(recorder.wrap(db), db, LANES)
  const bare = await BareUpserts.open(server.url, LANES)
  const literals = await Literals.open(server.url)
  const oneByOne = async (events: readonly BenchEvent[]): Promise<RecordedTransaction[]> => {
    const single = new Recorder()
    const yes = yesDatabase(BENCH_FENCE, SHARDS)
    const writer = await BenchWriter.open(single.wrap(yes), null, 1)
    await writer.writeOneByOne(events)
    await writer.close()
    return single.take()[0]!
  }
  const empty = async (): Promise<void> => {
    await db.query(`truncate ${TABLES.join(', ')}`)
    await db.query('checkpoint')
  }
  const settle = async (): Promise<void> => {
    await db.query('vacuum analyze')
    // The old statistics go as well: else whoever plans next removes them, with whole pages of them in the WAL.
    await db.query('vacuum pg_statistic')
    await db.query('checkpoint')
  }
  const sizes = storm.map(({ bytes }) => bytes.length).sort((a, b) => a - b)

  // A storm, and the same world once more.
  const stormEvents = await oneByOne(storm)
  const rows = stormEvents.flat().reduce((sum, { elements }) => sum + elements[0]!.length, 0)
  const turns = {
    ours: [] as Turn[],
    again: [] as Turn[],
    bare: [] as Turn[],
    literal: [] as Turn[],
  }
  let isSame = true
  for (let round = 0; round < flags.rounds; round++) {
    await empty()
    turns.ours.push(await timed(() => ours.write(storm)))
    const recorded = BareUpserts.prepare(recorder.take())
    const sums = await checksums()
    await settle()
    turns.again.push(await timed(() => ours.write(storm)))
    recorder.take()
    isSame &&= sums === (await checksums())
    await empty()
    turns.bare.push(await timed(() => bare.write(recorded)))
    isSame &&= sums === (await checksums())
    if (round > 0) continue
    await empty()
    turns.literal.push(await timed(() => literals.write(stormEvents)))
    isSame &&= sums === (await checksums())
  }
  const storms = `storm of ${GUILDS} guilds`
  say(`${rows} rows, ${sum(sizes) >> 20} MiB, median ${median(sizes)} B, largest ${sizes.at(-1)} B`)
  rate(`${storms}: rows`, '/s', rows, turns.ours, CEILING, rows, turns.bare, 0.9, isSame)
  rate(`${storms}: rows`, '/s', rows, turns.ours, LITERAL, rows, turns.literal, null, isSame)
  costs(storms, turns.ours, turns.bare, isSame)
  const share = turns.again.map((turn, round) => turns.ours[round]!.seconds / turn.seconds)
  report.add({
    row: 'unchanged world: time, first fill / it',
    unit: 's',
    ours: median(turns.again.map(({ seconds }) => seconds)),
    rival: median(turns.ours.map(({ seconds }) => seconds)),
    rival_name: 'the first fill',
    ratio: median(share),
    spread: [Math.min(...share), Math.max(...share)],
    aim: 'ratio >= 3',
    met: median(share) >= 3,
    correct: isSame,
  })
  value(
    'unchanged world: WAL',
    'B',
    turns.again.map(({ walBytes }) => walBytes),
    0,
    isSame,
  )
  value(
    'unchanged world: longest stall',
    'ms',
    turns.again.map(({ stallMs }) => stallMs),
    50,
    isSame,
  )

  // The steady mix, in the world that the storm left.
  await empty()
  await ours.write(storm)
  recorder.take()
  const count = Math.round((STEADY_PER_SECOND * flags.seconds) / flags.rounds)
  const literalCount = Math.round(count * LITERAL_SHARE)
  const mine: Turn[] = []
  const ceiling: Turn[] = []
  const single: Turn[] = []
  for (let round = 0; round < flags.rounds; round++) {
    const events = world.steady(count)
    const perEvent = await oneByOne(events.slice(0, literalCount))
    await settle()
    mine.push(await timed(() => ours.write(events)))
    const recorded = BareUpserts.prepare(recorder.take())
    const sums = await checksums()
    await settle()
    ceiling.push(await timed(() => bare.write(recorded)))
    isSame &&= sums === (await checksums())
    await settle()
    single.push(await timed(() => literals.write(perEvent)))
    // What came later in the round is told once more, so that the next one begins where this one ended.
    await ours.write(events)
    recorder.take()
  }
  rate('steady mix: events', '/s', count, mine, CEILING, count, ceiling, 0.9, isSame)
  rate('steady mix: events', '/s', count, mine, LITERAL, literalCount, single, 5, isSame)
  costs('steady mix', mine, ceiling, isSame)
  await Promise.all([ours.close(), bare.close(), literals.close()])

  async function timed(work: () => Promise<void>): Promise<Turn> {
    globalThis.gc?.()
    const walBefore = await wal()
    const postgresBefore = treeSeconds(server.pid)
    const ownBefore = ownSeconds()
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const start = performance.now()
    await work()
    const seconds = (performance.now() - start) / 1000
    delay.disable()
    return {
      seconds,
      ownSeconds: ownSeconds() - ownBefore,
      postgresSeconds: treeSeconds(server.pid) - postgresBefore,
      walBytes: (await wal()) - walBefore,
      stallMs: delay.max / 1e6,
    }
  }

  async function wal(): Promise<number> {
    const [row] = await db.query<{ bytes: string }>(
      `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as bytes`,
    )
    return Number(row!.bytes)
  }

  async function checksums(): Promise<string> {
    const texts: string[] = []
    for (const table of COMPARED) {
      const [row] = await db.query<{ text: string }>(
        `select count(*) || ':' || coalesce(sum(hashtextextended(data::text, 0)), 0) as text from ${table}`,
      )
      texts.push(`${table} ${row!.text}`)
    }
    return texts.join('\n')
  }
}

function rate(
  row: string,
  unit: string,
  count: number,
  ours: readonly Turn[],
  rivalName: string,
  rivalCount: number,
  rival: readonly Turn[],
  aim: number | null,
  correct: boolean,
): void {
  const mine = ours.map(({ seconds }) => count / seconds)
  const theirs = rival.map(({ seconds }) => rivalCount / seconds)
  const ratios = theirs.map((value, round) => mine[round]! / value)
  report.add({
    row,
    unit,
    ours: median(mine),
    rival: median(theirs),
    rival_name: rivalName,
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
    aim: aim === null ? 'none' : `ratio >= ${aim}`,
    met: aim === null || median(ratios) >= aim,
    correct,
  })
}

function costs(name: string, ours: readonly Turn[], bare: readonly Turn[], correct: boolean): void {
  const against = (row: string, unit: string, of: (turn: Turn) => number): void => {
    const ratios = ours.map((turn, round) => of(bare[round]!) / of(turn))
    report.add({
      row: `${name}: ${row}`,
      unit,
      ours: median(ours.map(of)),
      rival: median(bare.map(of)),
      rival_name: CEILING,
      ratio: median(ratios),
      spread: [Math.min(...ratios), Math.max(...ratios)],
      aim: 'none',
      met: true,
      correct,
    })
  }
  against('CPU of the writer', 's', (turn) => turn.ownSeconds)
  against('CPU of Postgres', 's', (turn) => turn.postgresSeconds)
  against('WAL', 'MiB', (turn) => turn.walBytes / 2 ** 20)
  value(
    `${name}: longest stall`,
    'ms',
    ours.map(({ stallMs }) => stallMs),
    50,
    correct,
  )
}

/** @param most  the aim. */
function value(
  row: string,
  unit: string,
  values: readonly number[],
  most: number,
  correct: boolean,
): void {
  const isMet = most === 0 ? median(values) === 0 : median(values) < most
  report.add({
    row,
    unit,
    ours: median(values),
    rival: null,
    rival_name: '',
    ratio: null,
    spread: [Math.min(...values), Math.max(...values)],
    aim: most === 0 ? `0 ${unit}` : `< ${most} ${unit}`,
    met: isMet,
    correct,
  })
}

function say(text: string): void {
  console.error(text)
}

function sum(values: readonly number[]): number {
  return values.reduce((total, number) => total + number, 0)
}
