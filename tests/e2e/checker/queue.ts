/** Whether the lists hold what whitelist and lifecycle want, in the ledger's order. */
import { createHash } from 'node:crypto'
import { readTerm, readTopMap } from './etf-term.ts'
import type { Finding } from './finding.ts'
import { type Receipt, Receipts } from './gaps.ts'
import { jsonMap, textOf } from './json-form.ts'
import type { JsonMap } from './json-form.ts'
import { Lifecycle } from './lifecycle.ts'
import type { GapLine, LedgerEnd, LedgerLine } from './ledger.ts'

export interface QueueInput {
  readonly payload: 'd' | 'envelope'
  /** All dispatches of all sessions, in the order of `n`. */
  readonly ledger: readonly LedgerLine[]
  readonly ends: readonly LedgerEnd[]
  readonly gaps: readonly GapLine[]
  /** WHITELIST_EVENTS; null: not set, all events. */
  readonly whitelist: readonly string[] | null
  /** Key of the list → its entries, oldest first, with version byte. */
  readonly lists: ReadonlyMap<string, readonly Uint8Array[]>
  readonly prefix?: string
  /**
   * Whether a process was killed in the run: it may have handed on what it could no longer acknowledge, so that its
   * successor calls lost what is in the lists. Default false.
   */
  readonly wasKilled?: boolean
}

/** A dispatch of the ledger with what is expected of it. */
interface Expected {
  readonly line: LedgerLine
  readonly guildClass: string
  readonly isWanted: boolean
  /** It must be in its list: wanted, and surely received. */
  readonly isDue: boolean
  /** A gap line calls it lost, though it may have been sent. */
  readonly isCalledLost: boolean
}

interface Entry {
  readonly t: string
  readonly s: number
  readonly session: string
  readonly shard: number
  readonly shardCount: number
  readonly guildClass: string
  readonly hash: string
}

const DEFAULT_PREFIX = 'gateway:events:'

export function checkQueue(input: QueueInput): Finding[] {
  const expected = expectedEvents(input)
  return input.payload === 'd' ? checkBare(input, expected) : checkEnvelopes(input, expected)
}

/** Never READY and RESUMED, chunks only by name, GUILD_CREATE only of a guild that was joined. */
export function isWanted(
  t: string,
  guildClass: string,
  whitelist: readonly string[] | null,
): boolean {
  if (t === 'READY' || t === 'RESUMED') return false
  if (t === 'GUILD_CREATE' && guildClass !== 'joined') return false
  if (whitelist === null) return t !== 'GUILD_MEMBERS_CHUNK'
  return whitelist.includes(t)
}

function expectedEvents(input: QueueInput): Expected[] {
  const receipts = new Receipts(input.gaps, input.ends)
  const lifecycle = new Lifecycle()
  /** What was possibly told of these guilds decides the class of what comes next. */
  const unsure = new UnsureGuilds()
  return input.ledger.map((line) => {
    const receipt = receipts.of(line)
    const guildClass = receipt === 'sure' ? lifecycle.apply(line) : ''
    const isUnsure = unsure.take(line, receipt)
    const wanted =
      isWanted(line.t, guildClass, input.whitelist) ||
      ((receipt === 'possible' || isUnsure) && line.t === 'GUILD_CREATE')
    const isCalledLost = receipt === 'possible'
    const isDue = wanted && receipt === 'sure' && !isUnsure
    return { line, guildClass, isWanted: wanted, isDue, isCalledLost }
  })
}

/** Guilds whose membership depends on whether events inside a gap were taken; until something sure is said of them. */
class UnsureGuilds {
  readonly #guilds = new Set<string>()

  /** Whether the class of this event cannot be known. */
  take(line: LedgerLine, receipt: Receipt): boolean {
    if (line.d === null || !/^(READY|GUILD_CREATE|GUILD_DELETE)$/.test(line.t)) return false
    if (receipt === 'impossible') return false
    const d = jsonMap(readTerm(line.d))
    if (line.t === 'READY') {
      if (receipt === 'possible') {
        for (const guild of d['guilds'] as JsonMap[]) this.#guilds.add(textOf(guild['id']))
      }
      return false
    }
    const id = textOf(d['id'])
    if (receipt === 'possible') {
      this.#guilds.add(id)
      return false
    }
    return this.#guilds.delete(id)
  }
}

function checkEnvelopes(input: QueueInput, expected: readonly Expected[]): Finding[] {
  const findings: Finding[] = []
  const prefix = input.prefix ?? DEFAULT_PREFIX
  const bySequence = new Map(expected.map((entry) => [keyOf(entry.line), entry]))
  const seen = new Map<string, string>()
  for (const [list, values] of input.lists) {
    // Position in the ledger of the newest event of each shard that this list has shown so far.
    const newest = new Map<number, Expected>()
    for (const [index, value] of values.entries()) {
      const entry = readEnvelope(value)
      if (entry === null) {
        const text = `entry ${index} of ${list} cannot be read: ${Buffer.from(value).toString('latin1', 0, 80)}`
        findings.push({ what: 'unknown', text })
        continue
      }
      const key = `${entry.session} ${entry.s}`
      const known = bySequence.get(key)
      if (known === undefined) {
        findings.push(finding('unknown', entry, 'is in a list, and the ledger does not know it'))
        continue
      }
      if (seen.get(key) === list) continue
      if (seen.has(key)) findings.push(finding('wrong_list', entry, `is in ${list} as well`))
      seen.set(key, list)
      findings.push(...entryFindings(entry, known, `${prefix}${known.line.t}`, list))
      if (known.isCalledLost && input.wasKilled !== true) {
        findings.push(
          finding('gap_bounds', known.line, `is in ${list}, and a gap line calls it lost`),
        )
      }
      // It need not be here: one that was frozen hands on what it held after another has gone on without it.
      if (known.isCalledLost) continue
      const before = newest.get(known.line.shard)
      if (before !== undefined && before.line.n > known.line.n) {
        findings.push(
          finding(
            'out_of_order',
            known.line,
            `comes behind ${before.line.t} s=${before.line.s} of session ${before.line.session} in ${list}`,
          ),
        )
        continue
      }
      newest.set(known.line.shard, known)
    }
  }
  // Merged over all lists by sequence: each due event is somewhere.
  for (const { line, isDue } of expected) {
    if (!isDue || seen.has(keyOf(line))) continue
    findings.push(finding('missing', line, `is not in ${prefix}${line.t}`))
  }
  return findings
}

function entryFindings(entry: Entry, known: Expected, wantedList: string, list: string): Finding[] {
  const findings: Finding[] = []
  const { line } = known
  if (!known.isWanted) findings.push(finding('unwanted', line, `is in ${list}`))
  if (list !== wantedList) findings.push(finding('wrong_list', line, `is in ${list}`))
  if (entry.hash !== line.hash) findings.push(finding('altered', line, `has another d in ${list}`))
  if (entry.t !== line.t || entry.shard !== line.shard || entry.shardCount !== line.shardCount) {
    const said = `t=${entry.t} shard=${entry.shard}/${entry.shardCount}`
    findings.push(finding('wrong_envelope', line, `is said to be ${said}`))
  }
  if (known.isDue && entry.guildClass !== known.guildClass) {
    const said = `class '${entry.guildClass}', not '${known.guildClass}'`
    findings.push(finding('wrong_envelope', line, `has ${said}`))
  }
  return findings
}

/** Bare payloads carry no sequence: each wanted one must be there as often as the ledger has it, or more. */
function checkBare(input: QueueInput, expected: readonly Expected[]): Finding[] {
  const findings: Finding[] = []
  const prefix = input.prefix ?? DEFAULT_PREFIX
  const counts = new Map<string, number>()
  const wanted = new Set<string>()
  for (const { line, isWanted: isKnown } of expected)
    if (isKnown) wanted.add(`${line.t} ${line.hash}`)
  const known = new Set(expected.map(({ line }) => `${line.t} ${line.hash}`))
  for (const [list, values] of input.lists) {
    const t = list.startsWith(prefix) ? list.slice(prefix.length) : list
    for (const [index, value] of values.entries()) {
      const key = `${t} ${sha1(value.subarray(1))}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
      if (value[0] === 131 && wanted.has(key)) continue
      const what = value[0] === 131 && known.has(key) ? 'unwanted' : 'unknown'
      findings.push({ what, t, text: `entry ${index} of ${list} is no wanted event of the ledger` })
    }
  }
  for (const { line, isDue } of expected) {
    if (!isDue) continue
    const key = `${line.t} ${line.hash}`
    const left = counts.get(key) ?? 0
    if (left === 0) findings.push(finding('missing', line, `is not in ${prefix}${line.t}`))
    else counts.set(key, left - 1)
  }
  return findings
}

/** Null for what is no envelope, or whose `d` is no term. */
function readEnvelope(value: Uint8Array): Entry | null {
  const map = topMapOf(value)
  if (map === null) return null
  const range = map.get('d')?.range ?? { start: 0, end: 0 }
  return {
    t: String(map.get('t')?.value as string),
    s: Number(map.get('s')?.value),
    session: String(map.get('session_id')?.value as string),
    shard: Number(map.get('shard')?.value),
    shardCount: Number(map.get('shard_count')?.value),
    guildClass: String(map.get('class')?.value as string),
    hash: sha1(value.subarray(range.start, range.end)),
  }
}

function topMapOf(value: Uint8Array): ReturnType<typeof readTopMap> | null {
  try {
    return readTopMap(value)
  } catch {
    return null
  }
}

function keyOf(line: LedgerLine): string {
  return `${line.session} ${line.s}`
}

function sha1(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex')
}

function finding(
  what: Finding['what'],
  event: {
    readonly shard: number
    readonly session: string
    readonly s: number
    readonly t: string
  },
  says: string,
): Finding {
  const { shard, session, s, t } = event
  return {
    what,
    shard,
    session,
    s,
    t,
    text: `${t} of shard ${shard}, session ${session}, s=${s} ${says}`,
  }
}
