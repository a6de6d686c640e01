/** Discord's limits, each with its source. */

/** Sends per connection in any SEND_WINDOW_MS. See [Discord Docs/Gateway#rate-limiting]. */
export const SEND_EVENTS_MAX = 120
export const SEND_WINDOW_MS = 60_000
/** Presence updates per connection in any PRESENCE_WINDOW_MS. See [Discord Docs/Gateway Events#activity-object]. */
export const PRESENCE_UPDATES_MAX = 5
export const PRESENCE_WINDOW_MS = 20_000
/** One request for all members per guild and bot in this time. See [Discord Docs/Gateway Events#request-guild-members]. */
export const ALL_MEMBERS_WINDOW_MS = 30_000
/** A larger payload is answered with close code 4002. See [Discord Docs/Gateway#sending-events]. */
export const SEND_PAYLOAD_BYTES_MAX = 4096
/** One identify per rate limit key in this time. See [Discord Docs/Gateway#sharding-max-concurrency]. */
export const IDENTIFY_WINDOW_MS = 5000
/** Members in one GUILD_MEMBERS_CHUNK. See [Discord Docs/Gateway Events#guild-members-chunk]. */
export const MEMBERS_PER_CHUNK_MAX = 1000
/** A longer nonce is silently ignored. See [Discord Docs/Gateway Events#request-guild-members]. */
export const NONCE_BYTES_MAX = 32
/** User ids in one Request Guild Members. See [Discord Docs/Gateway Events#request-guild-members]. */
export const REQUEST_MEMBERS_IDS_MAX = 100
/** Above this a guild sends only the members in voice and the bot. See [Discord Docs/Gateway Events#guild-create]. */
export const LARGE_GUILD_MEMBERS = 75_000
/** The gateway version spoken. See [Discord Docs/Gateway#gateway-versions]. */
export const GATEWAY_VERSION = 10
