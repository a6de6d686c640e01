import type { Database } from './database.ts'

/** Where a guild stands, and what of its lists may be trusted: docs/architecture.md#what-a-client-can-know. */
export interface GuildReport {
  readonly state: string
  readonly since: Date
  readonly membersComplete: boolean
  readonly membersAsOf: Date | null
  readonly presencesComplete: boolean
  readonly presencesAsOf: Date | null
  readonly bansSince: Date | null
  readonly gapAt: Date | null
}

/** Null: the bot is not in the guild. */
export async function readGuildReport(
  database: Database,
  guildId: bigint,
): Promise<GuildReport | null> {
  const [row] = await database.query<GuildReport>(
    `select p.state, p.since,
       coalesce(g.members_complete, false) as "membersComplete", g.members_as_of as "membersAsOf",
       coalesce(g.presences_complete, false) as "presencesComplete", g.presences_as_of as "presencesAsOf",
       g.bans_since as "bansSince", g.gap_at as "gapAt"
     from guilds_persistent p left join guilds g on g.id = p.id where p.id = $1`,
    [guildId.toString()],
  )
  return row ?? null
}
