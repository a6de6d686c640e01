/** Interactions, entitlements, subscriptions, the bot's own user, and an event from the future. */
import type { JsonObject } from '../json.ts'
import type { Universe } from '../universe.ts'
import { event } from '../world-event.ts'
import type { Mutation } from '../world-event.ts'
import { eachGuildOf, memberUpdate } from './members.ts'

export const APPLICATION_MUTATIONS = {
  /** The token is a secret for 15 minutes. Keys of `resolved` are snowflakes as strings. */
  INTERACTION_CREATE(universe, guild) {
    const { dice, prose, timeline } = universe
    const userId = guild.members.pickKey(dice)
    const channel = guild.channels.pick(dice)
    if (userId === undefined || channel === undefined) return []
    const member = universe.member(guild, userId)
    const { user, ...withoutUser } = member
    const channelWithGuild: JsonObject = { ...channel, guild_id: guild.id }
    return [
      event('INTERACTION_CREATE', guild.id, {
        version: 1,
        type: 2,
        token: Buffer.from(`interaction:${timeline.id()}:${dice.hex(64)}`).toString('base64url'),
        member: { ...member, permissions: '562949953421311' },
        locale: 'en-US',
        id: timeline.id(),
        guild_locale: 'en-US',
        guild_id: guild.id,
        guild: { locale: 'en-US', id: guild.id, features: guild.base['features'] ?? [] },
        entitlements: [],
        data: {
          type: 1,
          resolved: {
            users: { [String(userId)]: user as JsonObject },
            members: { [String(userId)]: withoutUser },
          },
          options: [{ value: userId, type: 6, name: 'user' }],
          name: prose.handle(),
          id: timeline.id(),
        },
        context: 0,
        channel_id: channel['id']!,
        channel: channelWithGuild,
        authorizing_integration_owners: { 0: guild.id },
        attachment_size_limit: 10_485_760,
        application_id: universe.applicationId,
        app_permissions: '562949953421311',
      }),
    ]
  },
  APPLICATION_COMMAND_PERMISSIONS_UPDATE(universe, guild) {
    const d = {
      permissions: [{ type: 1, permission: true, id: guild.roles.pickKey(universe.dice)! }],
      id: universe.timeline.id(),
      guild_id: guild.id,
      application_id: universe.applicationId,
    }
    return [event('APPLICATION_COMMAND_PERMISSIONS_UPDATE', guild.id, d)]
  },
  ENTITLEMENT_CREATE(universe) {
    const entitlement = makeEntitlement(universe)
    universe.entitlements.set(entitlement['id'] as bigint, entitlement)
    return [event('ENTITLEMENT_CREATE', null, entitlement)]
  },
  ENTITLEMENT_UPDATE(universe) {
    const found = universe.entitlements.pick(universe.dice) ?? makeEntitlement(universe)
    const changed: JsonObject = { ...found, ends_at: universe.timeline.iso() }
    universe.entitlements.set(changed['id'] as bigint, changed)
    return [event('ENTITLEMENT_UPDATE', null, changed)]
  },
  ENTITLEMENT_DELETE(universe) {
    const found = universe.entitlements.pick(universe.dice) ?? makeEntitlement(universe)
    universe.entitlements.delete(found['id'] as bigint)
    return [event('ENTITLEMENT_DELETE', null, { ...found, deleted: true })]
  },
  SUBSCRIPTION_CREATE(universe) {
    return [event('SUBSCRIPTION_CREATE', null, makeSubscription(universe, 0))]
  },
  SUBSCRIPTION_UPDATE(universe) {
    return [event('SUBSCRIPTION_UPDATE', null, makeSubscription(universe, 1))]
  },
  SUBSCRIPTION_DELETE(universe) {
    return [event('SUBSCRIPTION_DELETE', null, makeSubscription(universe, 2))]
  },
  /** Followed by the bot's member in every guild: a burst (discord-api-docs issue 6712). */
  USER_UPDATE(universe) {
    const bot = { ...universe.user(universe.options.botUserId), avatar: universe.dice.hex(32) }
    universe.users.set(universe.options.botUserId, bot)
    const d = { verified: true, mfa_enabled: true, flags: 0, email: null, bio: '', ...bot }
    const { botUserId } = universe.options
    return [
      event('USER_UPDATE', null, d),
      ...eachGuildOf(universe, botUserId, (guild) => memberUpdate(universe, guild, botUserId)),
    ]
  },
  /** Discord adds events at any time: what nobody knows must pass through untouched. */
  UNKNOWN_EVENT(universe, guild) {
    const { dice, prose, timeline } = universe
    const d: JsonObject = {
      level: dice.int(0, 255),
      guild_id: guild.id,
      aura: { name: prose.name(), id: timeline.id(), colors: [1, 2, 3], ratio: dice.random() },
    }
    return [event('GUILD_AURA_UPDATE', guild.id, d, 0)]
  },
} as const satisfies Record<string, Mutation>

function makeEntitlement(universe: Universe): JsonObject {
  const { dice, timeline } = universe
  return {
    user_id: universe.users.pickKey(dice) ?? universe.options.botUserId,
    type: 8,
    starts_at: timeline.iso(),
    sku_id: timeline.idAt(timeline.past()),
    id: timeline.id(),
    ends_at: null,
    deleted: false,
    consumed: false,
    application_id: universe.applicationId,
  }
}

function makeSubscription(universe: Universe, status: number): JsonObject {
  const { dice, timeline } = universe
  return {
    user_id: universe.users.pickKey(dice) ?? universe.options.botUserId,
    status,
    sku_ids: [timeline.idAt(timeline.past())],
    renewal_sku_ids: null,
    id: timeline.id(),
    entitlement_ids: [timeline.id()],
    current_period_start: timeline.iso(),
    current_period_end: timeline.iso(timeline.nowMs + 2_592_000_000),
    canceled_at: null,
  }
}
