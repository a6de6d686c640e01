/**
 * Whole lists of members on their way: the chunks of one request, until the last one has come.
 *
 *   chunk 1, 2, … n of one nonce ─► their members are put as they come ─► then: who is not among them goes, and the guild's
 *                                                                          list is complete as of now
 * Whatever makes the client miss changes in between (a gap, an outage, a new session, another owner) ends the list: its members
 * stay put, the guild stays incomplete.
 */

interface Listing {
  readonly shardId: number
  readonly nonce: string
  readonly chunks: Set<number>
  /** 8 characters each. Who joins meanwhile belongs to it. */
  readonly users: string[]
}

/** Users of all lists on their way: 8 bytes and more each. A list beyond it does not complete its guild. */
const USERS_MAX = 8_000_000

export class MemberLists {
  readonly #listings = new Map<string, Listing>()
  #users = 0

  /**
   * A chunk. A list begins with its first one: what was sent before a take-over is not known here.
   *
   * @param guild 8 characters
   * @returns where its users go; null: they belong to no whole list.
   */
  chunk(guild: string, shardId: number, nonce: string, index: number): string[] | null {
    let listing = this.#listings.get(guild)
    // Asked for again under the same nonce: the first chunk begins it anew.
    if (
      index === 0 &&
      (listing === undefined || listing.nonce !== nonce || listing.chunks.has(0))
    ) {
      this.forget(guild)
      listing = { shardId, nonce, chunks: new Set(), users: [] }
      this.#listings.set(guild, listing)
    }
    if (listing === undefined || listing.nonce !== nonce) return null
    listing.chunks.add(index)
    return listing.users
  }

  /** After the users of a chunk were added. @returns every user of the list when this was the last chunk. */
  end(guild: string, nonce: string, count: number, added: number): readonly string[] | null {
    const listing = this.#listings.get(guild)
    if (listing === undefined || listing.nonce !== nonce) return null
    this.#users += added
    if (this.#users > USERS_MAX) {
      this.forget(guild)
      return null
    }
    if (listing.chunks.size < count) return null
    this.forget(guild)
    return listing.users
  }

  /** Somebody joined while the guild's list is on its way. @param guild, user 8 characters each */
  joined(guild: string, user: string): void {
    const listing = this.#listings.get(guild)
    if (listing === undefined) return
    listing.users.push(user)
    this.#users++
  }

  forget(guild: string): void {
    const listing = this.#listings.get(guild)
    if (listing === undefined) return
    this.#users = Math.max(0, this.#users - listing.users.length)
    this.#listings.delete(guild)
  }

  forgetShard(shardId: number): void {
    for (const [guild, listing] of this.#listings) {
      if (listing.shardId === shardId) this.forget(guild)
    }
  }
}
