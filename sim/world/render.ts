/** What one session gets of an event. See [Discord Docs/Gateway#gateway-intents] and #message-content-intent. */
import { EVENTS, INTENTS, isEventName } from '../../src/discord/index.ts'
import { guildCreateFor } from './guild-create.ts'
import type { JsonLike, JsonObject } from './json.ts'
import type { Universe } from './universe.ts'
import type { ClientView, WorldEvent } from './world-event.ts'

/**
 * @returns `event.d` itself where every session gets the same; null when the session gets nothing. GUILD_CREATE is
 *   made from the world as it stands: render an event before the next step.
 */
export function renderEvent(
  universe: Universe,
  event: WorldEvent,
  view: ClientView,
  largeGuildMembers: number,
): JsonObject | null {
  const intents = event.intents ?? (isEventName(event.t) ? EVENTS[event.t] : 0)
  if (intents !== 0 && (view.intents & intents) === 0) return null
  switch (event.t) {
    case 'GUILD_CREATE': {
      const guild = universe.guilds.get(event.guildId ?? 0n)
      return guild === undefined
        ? event.d
        : guildCreateFor(universe, guild, view, largeGuildMembers)
    }
    case 'MESSAGE_CREATE':
    case 'MESSAGE_UPDATE':
      return renderMessage(event, view)
    case 'THREAD_MEMBERS_UPDATE':
      return renderThreadMembers(event.d, view)
    default:
      return event.d
  }
}

/** Without MESSAGE_CONTENT only direct messages, the bot's own and those that mention it keep their content. */
function renderMessage(event: WorldEvent, view: ClientView): JsonObject {
  const d = event.d
  if ((view.intents & INTENTS.MESSAGE_CONTENT) !== 0 || event.guildId === null) return d
  if (idOf(d['author']) === view.botUserId) return d
  if ((d['mentions'] as JsonObject[]).some((user) => user['id'] === view.botUserId)) return d
  const emptied: Record<string, JsonLike> = {
    ...d,
    content: '',
    embeds: [],
    attachments: [],
    components: [],
  }
  delete emptied['poll']
  return emptied
}

/** Without GUILD_MEMBERS a session hears only of the bot itself. See [Discord Docs/Gateway Events#thread-members-update]. */
function renderThreadMembers(d: JsonObject, view: ClientView): JsonObject | null {
  if ((view.intents & INTENTS.GUILD_MEMBERS) !== 0) return d
  const added = ((d['added_members'] ?? []) as JsonObject[]).filter(
    (member) => member['user_id'] === view.botUserId,
  )
  const removed = ((d['removed_member_ids'] ?? []) as bigint[]).filter(
    (id) => id === view.botUserId,
  )
  if (added.length + removed.length === 0) return null
  const { added_members: _added, removed_member_ids: _removed, ...rest } = d
  return {
    ...rest,
    ...(added.length > 0 ? { added_members: added } : {}),
    ...(removed.length > 0 ? { removed_member_ids: removed } : {}),
  }
}

function idOf(value: JsonLike | undefined): JsonLike | undefined {
  return value !== null && typeof value === 'object' && 'id' in value ? value['id'] : undefined
}
