/** Scheduled events, stage instances, auto moderation, invites, webhooks, integrations, the audit log. */
import type { JsonObject } from '../json.ts'
import { ChannelType, visibleChannels } from '../places.ts'
import type { Pool } from '../pool.ts'
import type { Guild, Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation, WorldEvent } from '../world-event.ts'

/** Kept per guild; beyond it the oldest is deleted instead of one more created. */
const KEPT_MAX = 10

export const FEATURE_MUTATIONS = {
  GUILD_SCHEDULED_EVENT_CREATE(universe, guild) {
    return create('GUILD_SCHEDULED_EVENT', guild, guild.scheduledEvents, {
      ...scheduledEvent(universe, guild),
    })
  },
  GUILD_SCHEDULED_EVENT_UPDATE(universe, guild) {
    const { before, found } = some(universe, guild.scheduledEvents, () =>
      FEATURE_MUTATIONS.GUILD_SCHEDULED_EVENT_CREATE(universe, guild),
    )
    const changed = { ...found, name: universe.prose.name(), status: universe.dice.int(1, 4) }
    return [...before, ...update('GUILD_SCHEDULED_EVENT', guild, guild.scheduledEvents, changed)]
  },
  GUILD_SCHEDULED_EVENT_DELETE(universe, guild) {
    const { before, found } = some(universe, guild.scheduledEvents, () =>
      FEATURE_MUTATIONS.GUILD_SCHEDULED_EVENT_CREATE(universe, guild),
    )
    return [...before, ...remove('GUILD_SCHEDULED_EVENT', guild, guild.scheduledEvents, found)]
  },
  GUILD_SCHEDULED_EVENT_USER_ADD(universe, guild) {
    return scheduledUser('GUILD_SCHEDULED_EVENT_USER_ADD', universe, guild)
  },
  GUILD_SCHEDULED_EVENT_USER_REMOVE(universe, guild) {
    return scheduledUser('GUILD_SCHEDULED_EVENT_USER_REMOVE', universe, guild)
  },
  STAGE_INSTANCE_CREATE(universe, guild) {
    const stage = visibleChannels(guild, [ChannelType.Stage]).find(
      (channel) =>
        guild.stageInstances.filter((entry) => entry['channel_id'] === channel['id']).length === 0,
    )
    if (stage === undefined) return []
    return create('STAGE_INSTANCE', guild, guild.stageInstances, {
      topic: universe.prose.text(4),
      privacy_level: 2,
      id: universe.timeline.id(),
      guild_scheduled_event_id: null,
      guild_id: guild.id,
      discoverable_disabled: false,
      channel_id: stage['id']!,
    })
  },
  STAGE_INSTANCE_UPDATE(universe, guild) {
    const { before, found } = some(universe, guild.stageInstances, () =>
      FEATURE_MUTATIONS.STAGE_INSTANCE_CREATE(universe, guild),
    )
    if (found === undefined) return before
    const changed = { ...found, topic: universe.prose.text(5) }
    return [...before, ...update('STAGE_INSTANCE', guild, guild.stageInstances, changed)]
  },
  STAGE_INSTANCE_DELETE(universe, guild) {
    const { before, found } = some(universe, guild.stageInstances, () =>
      FEATURE_MUTATIONS.STAGE_INSTANCE_CREATE(universe, guild),
    )
    if (found === undefined) return before
    const events = remove('STAGE_INSTANCE', guild, guild.stageInstances, found)
    // Events may come more than once (discord-api-docs issue 4756).
    return [...before, ...events, ...(universe.dice.chance(0.2) ? events : [])]
  },
  AUTO_MODERATION_RULE_CREATE(universe, guild) {
    return create('AUTO_MODERATION_RULE', guild, guild.autoModerationRules, {
      trigger_type: 1,
      trigger_metadata: { keyword_filter: [universe.prose.name()], regex_patterns: [] },
      name: universe.prose.name(),
      id: universe.timeline.id(),
      guild_id: guild.id,
      exempt_roles: [],
      exempt_channels: [],
      event_type: 1,
      enabled: true,
      creator_id: guild.base['owner_id']!,
      actions: [{ type: 1, metadata: {} }],
    })
  },
  AUTO_MODERATION_RULE_UPDATE(universe, guild) {
    const { before, found } = some(universe, guild.autoModerationRules, () =>
      FEATURE_MUTATIONS.AUTO_MODERATION_RULE_CREATE(universe, guild),
    )
    const changed = { ...found, name: universe.prose.name() }
    return [...before, ...update('AUTO_MODERATION_RULE', guild, guild.autoModerationRules, changed)]
  },
  AUTO_MODERATION_RULE_DELETE(universe, guild) {
    const { before, found } = some(universe, guild.autoModerationRules, () =>
      FEATURE_MUTATIONS.AUTO_MODERATION_RULE_CREATE(universe, guild),
    )
    return [...before, ...remove('AUTO_MODERATION_RULE', guild, guild.autoModerationRules, found)]
  },
  AUTO_MODERATION_ACTION_EXECUTION(universe, guild) {
    const { before, found } = some(universe, guild.autoModerationRules, () =>
      FEATURE_MUTATIONS.AUTO_MODERATION_RULE_CREATE(universe, guild),
    )
    return [
      ...before,
      event('AUTO_MODERATION_ACTION_EXECUTION', guild.id, {
        user_id: guild.members.pickKey(universe.dice) ?? universe.options.botUserId,
        rule_trigger_type: 1,
        rule_id: found?.['id'] ?? universe.timeline.id(),
        matched_keyword: 'moon',
        matched_content: 'moon',
        guild_id: guild.id,
        content: universe.prose.text(6),
        channel_id: guild.channels.pickKey(universe.dice) ?? guild.id,
        action: { type: 1, metadata: {} },
      }),
    ]
  },
  INVITE_CREATE(universe, guild) {
    const { dice, timeline } = universe
    return [
      event('INVITE_CREATE', guild.id, {
        uses: 0,
        type: 0,
        temporary: false,
        max_uses: dice.pick([0, 1, 10]),
        max_age: 604_800,
        inviter: universe.user(guild.members.pickKey(dice) ?? universe.options.botUserId),
        guild_id: guild.id,
        expires_at: timeline.iso(timeline.nowMs + 604_800_000),
        created_at: timeline.iso(),
        code: dice.hex(8),
        channel_id: guild.channels.pickKey(dice) ?? guild.id,
      }),
    ]
  },
  INVITE_DELETE(universe, guild) {
    const channel = guild.channels.pickKey(universe.dice) ?? guild.id
    const d = { guild_id: guild.id, code: universe.dice.hex(8), channel_id: channel }
    return [event('INVITE_DELETE', guild.id, d)]
  },
  WEBHOOKS_UPDATE(universe, guild) {
    const channel = guild.channels.pickKey(universe.dice) ?? guild.id
    return [event('WEBHOOKS_UPDATE', guild.id, { guild_id: guild.id, channel_id: channel })]
  },
  GUILD_INTEGRATIONS_UPDATE(_universe, guild) {
    return [event('GUILD_INTEGRATIONS_UPDATE', guild.id, { guild_id: guild.id })]
  },
  INTEGRATION_CREATE(universe, guild) {
    const { prose, timeline } = universe
    const id = timeline.id()
    return create('INTEGRATION', guild, guild.integrations, {
      type: 'discord',
      scopes: ['bot', 'applications.commands'],
      name: prose.name(),
      id,
      guild_id: guild.id,
      enabled: true,
      application: { summary: '', name: prose.name(), id, icon: null, description: '' },
      account: { name: prose.name(), id: String(id) },
    })
  },
  INTEGRATION_UPDATE(universe, guild) {
    const { before, found } = some(universe, guild.integrations, () =>
      FEATURE_MUTATIONS.INTEGRATION_CREATE(universe, guild),
    )
    const changed = { ...found, name: universe.prose.name() }
    return [...before, ...update('INTEGRATION', guild, guild.integrations, changed)]
  },
  INTEGRATION_DELETE(universe, guild) {
    const { before, found } = some(universe, guild.integrations, () =>
      FEATURE_MUTATIONS.INTEGRATION_CREATE(universe, guild),
    )
    const id = found?.['id']
    if (typeof id !== 'bigint') return before
    guild.integrations.delete(id)
    const d = { id, guild_id: guild.id, application_id: id }
    return [...before, event('INTEGRATION_DELETE', guild.id, d)]
  },
  GUILD_AUDIT_LOG_ENTRY_CREATE(universe, guild) {
    const { dice, prose, timeline } = universe
    return [
      event('GUILD_AUDIT_LOG_ENTRY_CREATE', guild.id, {
        user_id: guild.members.pickKey(dice) ?? universe.options.botUserId,
        target_id: guild.members.pickKey(dice) ?? guild.id,
        reason: dice.chance(0.3) ? prose.text(5) : null,
        options: null,
        id: timeline.id(),
        guild_id: guild.id,
        changes: [{ old_value: prose.name(), new_value: prose.name(), key: 'nick' }],
        action_type: 24,
      }),
    ]
  },
} as const satisfies Record<string, Mutation>

function scheduledEvent(universe: Universe, guild: Guild): JsonObject {
  const { dice, prose, timeline } = universe
  return {
    status: 1,
    sku_ids: [],
    scheduled_start_time: timeline.iso(timeline.nowMs + dice.int(1, 100) * 3_600_000),
    scheduled_end_time: null,
    recurrence_rule: null,
    privacy_level: 2,
    name: prose.name(),
    image: null,
    id: timeline.id(),
    guild_id: guild.id,
    entity_type: 3,
    entity_metadata: { location: prose.name() },
    entity_id: null,
    description: prose.text(10),
    creator_id: guild.base['owner_id']!,
    channel_id: null,
    auto_start: false,
  }
}

function scheduledUser(t: string, universe: Universe, guild: Guild): WorldEvent[] {
  const { before, found } = some(universe, guild.scheduledEvents, () =>
    FEATURE_MUTATIONS.GUILD_SCHEDULED_EVENT_CREATE(universe, guild),
  )
  const d = {
    user_id: guild.members.pickKey(universe.dice) ?? universe.options.botUserId,
    guild_scheduled_event_id: found?.['id'] ?? guild.id,
    guild_id: guild.id,
  }
  return [...before, event(t, guild.id, d)]
}

function create(
  name: string,
  guild: Guild,
  pool: Pool<JsonObject>,
  made: JsonObject,
): WorldEvent[] {
  const oldest = pool.size >= KEPT_MAX ? [...pool.values()][0] : undefined
  const events = oldest === undefined ? [] : remove(name, guild, pool, oldest)
  pool.set(made['id'] as bigint, made)
  return [...events, event(`${name}_CREATE`, guild.id, made)]
}

function update(
  name: string,
  guild: Guild,
  pool: Pool<JsonObject>,
  changed: JsonObject,
): WorldEvent[] {
  pool.set(changed['id'] as bigint, changed)
  return [event(`${name}_UPDATE`, guild.id, changed)]
}

function remove(
  name: string,
  guild: Guild,
  pool: Pool<JsonObject>,
  found: JsonObject | undefined,
): WorldEvent[] {
  if (found === undefined) return []
  pool.delete(found['id'] as bigint)
  return [event(`${name}_DELETE`, guild.id, found)]
}

/** One of the pool, made first if there is none. */
function some(
  universe: Universe,
  pool: Pool<JsonObject>,
  make: () => WorldEvent[],
): { before: WorldEvent[]; found: JsonObject | undefined } {
  const before = pool.size === 0 ? make() : []
  return { before, found: pool.pick(universe.dice) }
}
