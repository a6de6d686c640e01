import { describe, expect, test } from 'vitest'
import { ALL_INTENTS, INTENTS } from '../../../src/discord/index.ts'
import { MUTATION_KINDS } from '../../../sim/world/index.ts'
import { checkState, describeFindings, expectedStates, STATE_TABLES } from './index.ts'
import type { Row, State, StateTable } from './index.ts'
import { jsonMap, textOf } from './json-form.ts'
import type { Json, JsonMap } from './json-form.ts'
import { RecordedRun } from './recorded-run.ts'

type Tables = Record<StateTable, Map<string, Row>>

/** A state whose tables may be changed; its rows are shared. */
function stateOf(run: RecordedRun): Tables {
  const { ledger, ends, gaps } = run
  return copyOf(expectedStates({ ledger, ends, gaps })[0]!)
}

function copyOf(state: State): Tables {
  return Object.fromEntries(STATE_TABLES.map((table) => [table, new Map(state[table])])) as Tables
}

/** The truth about all guilds in the shape of State. */
function truthOf(run: RecordedRun): Tables {
  const truth = Object.fromEntries(STATE_TABLES.map((table) => [table, new Map()])) as Tables
  for (const id of run.world.guildIds(0, 1)) {
    const guild = jsonMap(run.world.guild(id))
    const key = textOf(guild['id'])
    const list = (name: string): readonly JsonMap[] => guild[name] as readonly JsonMap[]
    const put = (table: StateTable, child: string, row: Row): void => {
      truth[table].set(`${key}/${child}`, row)
    }
    for (const channel of list('channels'))
      put('channels', textOf(channel['id']), { data: channel })
    for (const role of list('roles')) put('roles', textOf(role['id']), { data: role })
    for (const emoji of list('emojis')) put('emojis', textOf(emoji['id']), { data: emoji })
    for (const member of list('members')) put('members', userOf(member), { data: member })
    for (const state of list('voice_states')) {
      put('voice_states', textOf(state['user_id']), { data: state })
    }
    for (const entry of list('guild_scheduled_events')) {
      put('scheduled_events', textOf(entry['id']), { data: entry })
    }
    for (const entry of list('stage_instances')) {
      put('stage_instances', textOf(entry['id']), { data: entry })
    }
    for (const sound of list('soundboard_sounds')) {
      put('soundboard_sounds', textOf(sound['sound_id']), { data: sound })
    }
    for (const thread of list('threads')) {
      put('threads', textOf(thread['id']), { data: thread, parent_id: thread['parent_id']! })
    }
    truth.membership.set(key, { state: run.world.isUnavailable(id) ? 'unavailable' : 'present' })
    truth.guilds.set(key, {
      data: { name: guild['name']!, member_count: guild['member_count']! },
      unavailable: guild['unavailable']!,
    })
  }
  return truth
}

function userOf(object: JsonMap): string {
  return textOf((object['user'] as JsonMap)['id'])
}

describe('ClientModel', () => {
  test('ends with the truth when everything was received and every list was whole', () => {
    const run = new RecordedRun({ seed: 21, guilds: 10, membersMax: 120, largeThreshold: 250 })
    for (let round = 0; round < 3; round++) {
      for (const kind of MUTATION_KINDS) {
        // Without a word from Discord: repeated joins count twice, access is lost, a count is capped.
        if (['GUILD_MEMBER_ADD_AGAIN', 'CHANNEL_HIDE', 'CHANNEL_REVEAL'].includes(kind)) continue
        run.mutate(kind)
      }
    }
    const state = stateOf(run)
    const truth = truthOf(run)
    for (const [key, row] of state.guilds) {
      const { name, member_count } = row['data'] as JsonMap
      state.guilds.set(key, { ...row, data: { name: name!, member_count: member_count! } })
    }
    // Bans of before are not told; newest messages and thread member counts change without an event.
    for (const table of ['bans', 'presence'] as const) state[table].clear()
    for (const table of ['channels', 'threads'] as const) {
      for (const rows of [state[table], truth[table]]) {
        for (const [key, row] of rows) {
          const { last_message_id: _last, member_count: _count, ...data } = row['data'] as JsonMap
          rows.set(key, { ...row, data })
        }
      }
    }
    expect(describeFindings(checkState(truth, state))).toBe('')
  })

  test('keeps of a large guild only who was told of, and marks an outage', () => {
    const run = new RecordedRun({ seed: 22, guilds: 3, membersMax: 300, largeThreshold: 50 })
    run.mutate('GUILD_OUTAGE')
    const state = stateOf(run)
    const members = run.ledger.length === 0 ? 0 : state.members.size
    expect(members).toBeGreaterThan(50)
    expect(members).toBeLessThan(300)
    expect([...state.guilds.values()].filter((row) => row['unavailable'] === true)).toHaveLength(1)
    expect([...state.membership.values()].map((row) => row['state'])).toContain('unavailable')
  })

  test('sees no voice states and no presences without their intents', () => {
    const intents = ALL_INTENTS & ~INTENTS.GUILD_VOICE_STATES & ~INTENTS.GUILD_PRESENCES
    const run = new RecordedRun({ seed: 23, guilds: 5, intents })
    run.step(500)
    const state = stateOf(run)
    expect(state.voice_states.size).toBe(0)
    expect(state.presence.size).toBe(0)
    expect(state.channels.size).toBeGreaterThan(10)
  })

  test('forgets a guild with all that hangs on it, also one that a READY no longer lists', () => {
    const run = new RecordedRun({ seed: 24, guilds: 5 })
    run.mutate('GUILD_DELETE')
    run.loseSession(0, 0)
    const [removed] = run.world.mutate('GUILD_DELETE')
    run.loseSession(0, 0)
    const state = stateOf(run)
    expect(state.guilds.size).toBe(3)
    const prefix = `${String(removed!.guildId)}/`
    for (const table of STATE_TABLES) {
      expect([...state[table].keys()].filter((key) => key.startsWith(prefix))).toEqual([])
    }
  })

  test('gives two states when a killed process may or may not have taken the last events', () => {
    const run = new RecordedRun({ seed: 25, guilds: 5 })
    for (let i = 0; i < 5; i++) run.mutate('GUILD_BAN_ADD')
    const last = run.ledger.length
    const session = run.ledger[0]!.session
    const bounds = { shard: 0, session, lastSent: last, last, resumeSeq: 4 }
    const states = expectedStates({
      ledger: run.ledger,
      ends: [{ ...bounds, cause: 'fault' }],
      gaps: [{ shard: 0, session, from: 5, to: null, cause: 'session_refused' }],
    })
    expect(states.map((state) => state.bans.size)).toEqual([0, 5])
    expect(checkState(states, states[1]!)).toEqual([])
    expect(checkState(states, states[0]!)).toEqual([])
    expect(checkState(states[0]!, states[1]!)).not.toEqual([])
  })
})

describe('checkState', () => {
  const run = new RecordedRun({ seed: 26, guilds: 6 })
  run.step(1000)
  run.mutate('GUILD_SCHEDULED_EVENT_CREATE')
  run.mutate('STAGE_INSTANCE_CREATE')
  const known = stateOf(run)

  test('finds nothing in an equal state', () => {
    expect(checkState(known, copyOf(known))).toEqual([])
  })

  test('names a row that was changed, with the path', () => {
    const state = copyOf(known)
    const [key, row] = [...state.members][3]!
    const data = row['data'] as JsonMap
    const user = { ...(data['user'] as JsonMap), username: 'changed' }
    state.members.set(key, { ...row, data: { ...data, user } })
    expect(checkState(known, state)).toMatchObject([
      { what: 'row_differs', table: 'members', key, path: '.data.user.username' },
    ])
  })

  test.each(STATE_TABLES)('names a row of %s that is missing, and one too many', (table) => {
    const state = copyOf(known)
    const key = [...state[table].keys()][0]
    if (key === undefined) return expect(table).toBe('bans')
    state[table].set('1/2', state[table].get(key)!)
    state[table].delete(key)
    const findings = checkState(known, state as State)
    expect(findings).toHaveLength(2)
    expect(findings).toContainEqual(expect.objectContaining({ what: 'row_missing', table, key }))
    expect(findings).toContainEqual(
      expect.objectContaining({ what: 'row_unexpected', table, key: '1/2' }),
    )
  })

  test('takes ids as strings and small numbers as numbers', () => {
    const [role] = [...known.roles.values()]
    const data = role!['data'] as JsonMap
    expect(typeof data['id']).toBe('string')
    expect(typeof data['color'] satisfies Json extends never ? never : string).toBe('number')
  })
})
