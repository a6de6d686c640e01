import { presenceOf } from './guild-create.ts'
import type { JsonObject } from './json.ts'
import type { Guild, Universe } from './universe.ts'

/** The whole truth about a guild, hidden and archived things too; lists are in no particular order. */
export function guildSnapshot(universe: Universe, guild: Guild): JsonObject {
  const members = [...guild.members.keys()]
  return {
    ...guild.base,
    unavailable: universe.outages.has(guild.id),
    joined_at: universe.timeline.iso(guild.joinedAtMs),
    member_count: guild.members.size,
    channels: [...guild.channels.values()],
    hidden_channel_ids: [...guild.hiddenChannels],
    threads: [...guild.threads.values()],
    archived_threads: [...guild.archivedThreads.values()],
    roles: [...guild.roles.values()],
    emojis: [...guild.emojis.values()],
    stickers: [...guild.stickers.values()],
    soundboard_sounds: [...guild.sounds.values()],
    stage_instances: [...guild.stageInstances.values()],
    guild_scheduled_events: [...guild.scheduledEvents.values()],
    members: members.map((userId) => universe.member(guild, userId)),
    presences: members
      .map((userId) => presenceOf(universe, userId))
      .filter((presence) => presence !== null),
    voice_states: [...guild.voiceStates.values()],
    bans: [...guild.bans.values()],
  }
}
