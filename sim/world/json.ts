/**
 * Values as Discord sends them, before they are encoded: snowflakes are bigint, everything else is what
 * Discord's JSON would show. Objects are never changed once made: a change makes a new object, so that an
 * event may share its parts with the world that made it.
 */
export type JsonLike = null | boolean | number | string | bigint | readonly JsonLike[] | JsonObject

export interface JsonObject {
  readonly [key: string]: JsonLike
}
