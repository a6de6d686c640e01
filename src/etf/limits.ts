/** The bounds of the codec. docs/etf.md#limits says what each is for. */

/** Returned by scanners, skippers and readers when the bytes end in the middle of a term. */
export const NEED_MORE = -1

/** Containers within containers. Discord's deepest payloads (components, embeds in forwards) have about 20. */
export const DEPTH_MAX = 2048

/** An atom has at most 255 characters of at most 4 bytes. @see Erlang ext_dist, ATOM_UTF8_EXT */
export const ATOM_CHARACTERS_MAX = 255
export const ATOM_BYTES_MAX = 1020

/** `t`: the longest of Discord's is GUILD_SCHEDULED_EVENT_USER_REMOVE, 33. */
export const EVENT_NAME_BYTES_MAX = 255

/** A big integer of 16 KiB has 39,000 digits; its decimal text still costs under a millisecond. */
export const BIG_BYTES_MAX = 16_384

/**
 * A compressed term says how large it is; what says more than this is not inflated. A byte can become an
 * object of forty, so that this is also what a small frame can cost a reader of values.
 */
export const INFLATED_BYTES_MAX = 16 * 1024 * 1024

/** Output of encodeTerm, termToJson and the editors: JSON of a frame of 64 MiB in which every byte is escaped. */
export const OUTPUT_BYTES_MAX = 384 * 1024 * 1024

/** Elements of a list whose ranges a FieldReader keeps (`roles[]`): 8 bytes each. A guild has 250 roles, a chunk 1,000 members. */
export const LIST_RANGES_MAX = 1_048_576
