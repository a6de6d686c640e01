/** The bot's voice connections: a contract of both databases. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Secret, systemClock, systemRandom } from '../../src/base/index.ts'
import { VoiceReader, VoiceSeal, VoiceStore } from '../../src/cache/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { BOT, deps, GUILD, type TestCache } from './cache-setup.ts'

const SHARD = 0
const FENCE = { epoch: 1, revision: 1 }
const TOKEN = 'a-voice-token-that-nobody-may-see'

export function describeVoice(cacheOf: () => TestCache): void {
  describe('voice connections', () => {
    let cache: TestCache
    let store: VoiceStore
    let acks: string[]
    let lines: string[]
    let position: number
    const seal = new VoiceSeal(new Secret('the bot token'))

    beforeEach(async () => {
      cache = cacheOf()
      await cache.database.query('delete from gateway_voice')
      await cache.sessions.takeOver(SHARD, FENCE)
      acks = []
      lines = []
      position = 0
      store = open(FENCE)
    })
    afterEach(() => store.close())

    function open(fence: typeof FENCE): VoiceStore {
      const say = (message: string, fields?: object): void =>
        void lines.push(`${message} ${JSON.stringify(fields)}`)
      const made = new VoiceStore({
        database: cache.database,
        fleetName: cache.fleet.name,
        botUserId: BOT,
        shardCount: 1,
        seal,
        acks: {
          submit: (shardId, at) => acks.push(`submit ${shardId} ${at}`),
          done: (shardId, at) => acks.push(`done ${shardId} ${at}`),
        },
        clock: systemClock,
        random: systemRandom,
        log: { ...deps.log, debug: say, info: say, warn: say, error: say },
      })
      made.claim(SHARD, fence)
      return made
    }

    function take(eventName: string, d: object, to: VoiceStore = store): void {
      const bytes = encodeTerm(d)
      to.onEvent({
        shardId: SHARD,
        sessionId: 's',
        sequence: ++position,
        position,
        eventName,
        guildClass: '',
        bytes,
        start: 1,
        end: bytes.length,
      })
    }

    const state = (fields: object = {}): object => ({
      guild_id: GUILD,
      user_id: BOT,
      channel_id: 770_000_000_000_000_000n,
      session_id: 'voice-session',
      ...fields,
    })
    const server = (fields: object = {}): object => ({
      guild_id: GUILD,
      token: TOKEN,
      endpoint: 'voice.example:443',
      ...fields,
    })

    async function read(with_: VoiceSeal = seal, guildIds: bigint[] = []): Promise<object[]> {
      const found: object[] = []
      for await (const one of new VoiceReader(cache.database, with_).read(guildIds)) {
        found.push({
          guildId: one.guildId,
          state: JSON.parse(one.state.toString()) as object,
          server: JSON.parse(one.server.toString()) as object,
        })
      }
      return found
    }

    it('are there when both events have come, the last of each, and acknowledged when written', async () => {
      take('VOICE_STATE_UPDATE', state())
      await store.flush()
      expect(await read()).toEqual([])
      take('VOICE_SERVER_UPDATE', server({ endpoint: null }))
      take('VOICE_SERVER_UPDATE', server())
      take('VOICE_STATE_UPDATE', state({ channel_id: 780_000_000_000_000_000n }))
      expect(acks.at(-1)).toBe('submit 0 4')
      await store.flush()
      expect(acks.at(-1)).toBe('done 0 4')
      expect(await read()).toEqual([
        {
          guildId: GUILD,
          state: {
            guild_id: GUILD.toString(),
            user_id: BOT.toString(),
            channel_id: '780000000000000000',
            session_id: 'voice-session',
          },
          server: { guild_id: GUILD.toString(), token: TOKEN, endpoint: 'voice.example:443' },
        },
      ])
      expect(await read(seal, [GUILD])).toHaveLength(1)
      expect(await read(seal, [5n])).toEqual([])
    })

    it('of others are not kept, and nothing is submitted for them', async () => {
      take('VOICE_STATE_UPDATE', state({ user_id: 5n }))
      take('VOICE_STATE_UPDATE', { user_id: BOT, channel_id: 1n })
      take('MESSAGE_CREATE', { guild_id: GUILD })
      expect(acks).toEqual([])
    })

    it.each([
      ['a leave', () => take('VOICE_STATE_UPDATE', state({ channel_id: null }))],
      ['the end of the guild', () => take('GUILD_DELETE', { id: GUILD })],
      ['a new session', () => take('READY', { guilds: [] })],
    ])('end with %s', async (_, end) => {
      take('VOICE_STATE_UPDATE', state())
      take('VOICE_SERVER_UPDATE', server())
      await store.flush()
      end()
      await store.flush()
      expect(await cache.database.query('select 1 as one from gateway_voice')).toEqual([])
      // And begin anew, also in one batch.
      end()
      take('VOICE_STATE_UPDATE', state())
      take('VOICE_SERVER_UPDATE', server())
      await store.flush()
      expect(await read()).toHaveLength(1)
    })

    it('outlast an outage of the guild', async () => {
      take('VOICE_STATE_UPDATE', state())
      take('VOICE_SERVER_UPDATE', server())
      take('GUILD_DELETE', { id: GUILD, unavailable: true })
      await store.flush()
      expect(await read()).toHaveLength(1)
    })

    it('are not written under a lost fence, but by the next owner', async () => {
      const next = { epoch: 1, revision: 2 }
      await cache.sessions.takeOver(SHARD, next)
      take('VOICE_STATE_UPDATE', state())
      take('VOICE_SERVER_UPDATE', server())
      await store.flush()
      expect(await cache.database.query('select 1 as one from gateway_voice')).toEqual([])
      expect(acks.at(-1)).toBe('done 0 2')
      const successor = open(next)
      take('VOICE_STATE_UPDATE', state(), successor)
      take('VOICE_SERVER_UPDATE', server(), successor)
      await successor.flush()
      expect(await read()).toHaveLength(1)
      await successor.close()
    })

    it('are in the table as cipher text that only the same token opens, in its own place, and in no log line', async () => {
      take('VOICE_STATE_UPDATE', state())
      take('VOICE_SERVER_UPDATE', server())
      await store.flush()
      const [row] = await cache.database.query<{ state: Buffer; server: Buffer }>(
        'select state, server from gateway_voice',
      )
      expect(row!.server.toString('latin1')).not.toContain(TOKEN.slice(0, 8))
      expect(await read(new VoiceSeal(new Secret('another token')))).toEqual([])
      await cache.database.query('update gateway_voice set guild_id = 5')
      expect(await read()).toEqual([])
      expect(lines.join()).not.toContain(TOKEN)
    })
  })
}
