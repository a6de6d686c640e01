/** State as whoever asks for it over REST sees it, in the form of the checker's rows. */
import { type Json, type JsonMap, textOf } from '../../e2e/checker/json-form.ts'
import type { Row, State } from '../../e2e/checker/index.ts'
import { STATE_TABLES } from '../../e2e/checker/index.ts'
import type { StateTable } from '../../e2e/checker/index.ts'
import type { StateKind } from '../../../src/discord/index.ts'

/** Route → table and the id of an entry. */
const LISTS: Readonly<
  Record<
    string,
    {
      readonly table: StateTable
      readonly kind: StateKind
      readonly idOf: (d: JsonMap) => Json | undefined
    }
  >
> = {
  channels: { table: 'channels', kind: 'channels', idOf: (d) => d['id'] },
  threads: { table: 'threads', kind: 'threads', idOf: (d) => d['id'] },
  roles: { table: 'roles', kind: 'roles', idOf: (d) => d['id'] },
  emojis: { table: 'emojis', kind: 'emojis', idOf: (d) => d['id'] },
  members: { table: 'members', kind: 'members', idOf: userOf },
  voice_states: { table: 'voice_states', kind: 'voice_states', idOf: (d) => d['user_id'] },
  presences: { table: 'presence', kind: 'presences', idOf: userOf },
  bans: { table: 'bans', kind: 'bans', idOf: userOf },
  scheduled_events: { table: 'scheduled_events', kind: 'scheduled_events', idOf: (d) => d['id'] },
  soundboard_sounds: {
    table: 'soundboard_sounds',
    kind: 'soundboard_sounds',
    idOf: (d) => d['sound_id'],
  },
  stage_instances: { table: 'stage_instances', kind: 'stage_instances', idOf: (d) => d['id'] },
}

export interface RestState {
  readonly state: State
  /** Guild → kind → x-complete of its list. */
  readonly complete: ReadonlyMap<string, ReadonlyMap<StateKind, boolean>>
  /** Kinds that State refused. */
  readonly refused: ReadonlySet<StateKind>
}

/** @param guildIds  guilds to ask for beside those that State lists. */
export async function readOverRest(url: string, guildIds: Iterable<string>): Promise<RestState> {
  const state = Object.fromEntries(
    STATE_TABLES.map((table) => [table, new Map<string, Row>()]),
  ) as unknown as Record<StateTable, Map<string, Row>>
  const complete = new Map<string, Map<StateKind, boolean>>()
  const refused = new Set<StateKind>()
  const listed = await ask(`${url}/guilds`)
  const ids = new Set(guildIds)
  for (const { id } of (listed.body ?? []) as { id: string }[]) ids.add(id)
  await Promise.all(
    [...ids].map(async (guild) => {
      const life = (await ask(`${url}/guilds/${guild}/state`)).body as JsonMap | null
      if (life?.['state'] != null) state.membership.set(guild, { state: life['state'] })
      const own = (await ask(`${url}/guilds/${guild}`)).body as JsonMap | null
      if (own !== null) {
        state.guilds.set(guild, { data: own, unavailable: life?.['unavailable'] ?? false })
      }
      const marks = new Map<StateKind, boolean>()
      complete.set(guild, marks)
      await Promise.all(
        Object.entries(LISTS).map(async ([route, { table, kind, idOf }]) => {
          const { status, body, isComplete } = await ask(`${url}/guilds/${guild}/${route}`)
          if (status === 501) return void refused.add(kind)
          marks.set(kind, isComplete)
          for (const data of body as JsonMap[]) {
            const columns = table === 'threads' ? { parent_id: data['parent_id'] ?? null } : {}
            state[table].set(`${guild}/${textOf(idOf(data))}`, { data, ...columns })
          }
        }),
      )
    }),
  )
  return { state, complete, refused }
}

async function ask(
  url: string,
): Promise<{ readonly status: number; readonly body: unknown; readonly isComplete: boolean }> {
  const response = await fetch(url)
  const { status } = response
  const text = await response.text()
  if (![200, 404, 501].includes(status)) throw new Error(`${url}: ${status} ${text}`)
  const body: unknown = status === 200 ? JSON.parse(text) : null
  return { status, body, isComplete: response.headers.get('x-complete') === 'true' }
}

function userOf(data: JsonMap): Json | undefined {
  return (data['user'] as JsonMap)['id']
}
