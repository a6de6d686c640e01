import { describe, expect, test } from 'vitest'
import { MUTATION_KINDS } from '../../../sim/world/index.ts'
import { checkQueue, describeFindings } from './index.ts'
import type { Finding } from './index.ts'
import { isWanted } from './queue.ts'
import { envelope, RecordedRun } from './recorded-run.ts'
import type { Lists } from './recorded-run.ts'

type Payload = 'd' | 'envelope'

/** All kinds of change, sessions lost in between, two shards. */
function busyRun(): RecordedRun {
  const run = new RecordedRun({ seed: 11, guilds: 12, shardCount: 2 })
  for (const kind of MUTATION_KINDS) run.mutate(kind)
  run.step(100)
  run.loseSession(0, 15)
  run.step(100)
  run.loseSession(1, 1)
  run.step(100)
  return run
}

function check(
  run: RecordedRun,
  lists: Lists,
  payload: Payload,
  whitelist: string[] | null = null,
): Finding[] {
  const { ledger, ends, gaps } = run
  return checkQueue({ payload, ledger, ends, gaps, whitelist, lists })
}

const made = new Map<string, Lists>()

/** Lists that may be spoilt: their entries are shared. */
function goodLists(run: RecordedRun, payload: Payload, whitelist: string[] | null = null): Lists {
  const key = `${payload} ${whitelist?.join() ?? 'all'}`
  const lists =
    made.get(key) ?? run.lists(payload, (t, guildClass) => isWanted(t, guildClass, whitelist))
  made.set(key, lists)
  return new Map([...lists].map(([list, entries]) => [list, [...entries]]))
}

describe('checkQueue', () => {
  const run = busyRun()
  const messages = 'gateway:events:MESSAGE_CREATE'

  test.each(['d', 'envelope'] as const)('finds nothing in a faultless run (%s)', (payload) => {
    const findings = check(run, goodLists(run, payload), payload)
    expect(describeFindings(findings)).toBe('')
  })

  test('allows repeats, also of a whole stretch', () => {
    const lists = goodLists(run, 'envelope')
    const list = lists.get(messages)!
    lists.set(messages, [...list.slice(0, 20), ...list.slice(10)])
    expect(check(run, lists, 'envelope')).toEqual([])
  })

  test.each(['d', 'envelope'] as const)('names an event that was removed (%s)', (payload) => {
    const lists = goodLists(run, payload)
    lists.get(messages)!.splice(7, 1)
    const wanted = run.ledger.filter(({ t }) => t === 'MESSAGE_CREATE')[7]!
    const findings = check(run, lists, payload)
    expect(findings).toHaveLength(1)
    const { shard, session, s, t } = wanted
    expect(findings[0]).toMatchObject({ what: 'missing', shard, session, s, t })
    expect(findings[0]!.text).toContain(`s=${s}`)
  })

  test('names an event that was swapped with its neighbour of the same shard', () => {
    const lists = goodLists(run, 'envelope')
    const lines = run.ledger.filter(({ t }) => t === 'MESSAGE_CREATE')
    const at = lines.findIndex((line, index) => lines[index + 1]?.session === line.session)
    const list = lists.get(messages)!
    ;[list[at], list[at + 1]] = [list[at + 1]!, list[at]!]
    const findings = check(run, lists, 'envelope')
    expect(findings).toHaveLength(1)
    const { session, s } = lines[at]!
    expect(findings[0]).toMatchObject({ what: 'out_of_order', session, s, t: 'MESSAGE_CREATE' })
  })

  test('names an event whose bytes were changed', () => {
    for (const payload of ['d', 'envelope'] as const) {
      const lists = goodLists(run, payload)
      const list = lists.get('gateway:events:TYPING_START')!
      const changed = Buffer.from(list[0]!)
      const at = changed.lastIndexOf('username')
      changed[at + 14] = changed[at + 14]! ^ 1
      list[0] = changed
      const whats = check(run, lists, payload).map(({ what }) => what)
      expect(whats).toContain(payload === 'd' ? 'unknown' : 'altered')
    }
  })

  test('names an entry that cannot be read', () => {
    const lists = goodLists(run, 'envelope')
    const list = lists.get(messages)!
    list[3] = list[3]!.subarray(0, 200)
    const findings = check(run, lists, 'envelope')
    expect(findings.map(({ what }) => what)).toEqual(['unknown', 'missing'])
    expect(findings[0]!.text).toContain(`entry 3 of ${messages}`)
  })

  test('names what the ledger does not know', () => {
    const lists = goodLists(run, 'envelope')
    const line = { ...run.ledger.find(({ t }) => t === 'MESSAGE_CREATE')!, s: 99_999 }
    lists.get(messages)!.push(envelope(line, ''))
    const findings = check(run, lists, 'envelope')
    expect(findings).toMatchObject([{ what: 'unknown', s: 99_999 }])
  })

  test('names READY, RESUMED, and a GUILD_CREATE that is no join', () => {
    const lists = goodLists(run, 'envelope')
    const ready = run.ledger.find(({ t }) => t === 'READY')!
    const filled = run.ledger.find(({ t }) => t === 'GUILD_CREATE')!
    lists.set('gateway:events:READY', [envelope(ready, '')])
    lists.get('gateway:events:GUILD_CREATE')!.unshift(envelope(filled, 'backfill'))
    const findings = check(run, lists, 'envelope')
    expect(findings).toMatchObject([
      { what: 'unwanted', t: 'GUILD_CREATE', s: filled.s },
      { what: 'unwanted', t: 'READY', s: 1 },
    ])
  })

  test('knows which GUILD_CREATE was a join', () => {
    const joins = goodLists(run, 'envelope').get('gateway:events:GUILD_CREATE')!
    const all = run.ledger.filter(({ t }) => t === 'GUILD_CREATE')
    expect(joins.length).toBeGreaterThan(0)
    expect(joins.length).toBeLessThan(all.length / 4)
  })

  test('wants what is on the whitelist and nothing else', () => {
    const whitelist = ['MESSAGE_CREATE', 'GUILD_MEMBERS_CHUNK']
    const all = goodLists(run, 'envelope')
    const lists = goodLists(run, 'envelope', whitelist)
    expect([...lists.keys()]).toEqual([messages])
    expect(check(run, lists, 'envelope', whitelist)).toEqual([])
    lists.set('gateway:events:TYPING_START', all.get('gateway:events:TYPING_START')!.slice(0, 1))
    expect(check(run, lists, 'envelope', whitelist)).toMatchObject([{ what: 'unwanted' }])
  })

  test('names an event in the wrong list, under a wrong shard or with a wrong class', () => {
    const lists = goodLists(run, 'envelope')
    const list = lists.get(messages)!
    lists.set('gateway:events:OTHER', [list.pop()!])
    const first = run.ledger.find(({ t }) => t === 'MESSAGE_CREATE')!
    list[0] = envelope({ ...first, shard: 7 }, '')
    const left = run.ledger.find(({ t }) => t === 'GUILD_DELETE')!
    lists.get('gateway:events:GUILD_DELETE')![0] = envelope(left, 'joined')
    const whats = check(run, lists, 'envelope').map(({ what }) => what)
    expect(whats.sort()).toEqual(['wrong_envelope', 'wrong_envelope', 'wrong_list'])
  })

  test('names an event that a gap line calls lost, and that was handed on', () => {
    const lists = goodLists(run, 'envelope')
    const gaps = run.gaps.map((gap) => ({ ...gap, from: gap.from - 10 }))
    const { ledger, ends } = run
    const input = { payload: 'envelope', ledger, ends, gaps, whitelist: null, lists } as const
    const findings = checkQueue(input)
    expect(findings.length).toBeGreaterThan(5)
    expect(new Set(findings.map(({ what }) => what))).toEqual(new Set(['gap_bounds']))
    expect(checkQueue({ ...input, wasKilled: true })).toEqual([])
  })

  test('after a kill, lets what a gap line calls lost come late, behind the next session', () => {
    const lists = goodLists(run, 'envelope')
    const lost = run.ledger.find(({ t }) => t === 'MESSAGE_CREATE')!
    const list = lists.get(messages)!
    lists.set(messages, [...list.slice(1), list[0]!])
    const gap = {
      shard: lost.shard,
      session: lost.session,
      from: lost.s,
      to: lost.s,
      cause: 'session_refused',
    }
    const { ledger, ends } = run
    const input = { payload: 'envelope', ledger, ends, whitelist: null, lists } as const
    const isOrder = ({ what }: Finding): boolean => what === 'out_of_order'
    expect(checkQueue({ ...input, gaps: run.gaps }).filter(isOrder)).not.toEqual([])
    const killed = checkQueue({ ...input, gaps: [...run.gaps, gap], wasKilled: true })
    expect(killed.filter(isOrder)).toEqual([])
  })

  test('misses nothing inside an unavoidable gap, and everything before it', () => {
    const lists = goodLists(run, 'envelope')
    const { ledger, ends } = run
    const late = run.gaps.map((gap) => ({ ...gap, from: gap.from + 20 }))
    const findings = checkQueue({
      payload: 'envelope',
      ledger,
      ends: ends.map((end) => ({ ...end, lastSent: end.last })),
      gaps: late,
      whitelist: null,
      lists,
    })
    expect(findings.length).toBeGreaterThan(10)
    expect(new Set(findings.map(({ what }) => what))).toEqual(new Set(['missing']))
  })
})
