import {
  Client,
  GatewayDispatchEvents,
  GatewayOpcodes,
  PresenceUpdateStatus,
} from '@discordjs/core'
import { REST } from '@discordjs/rest'
import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLog } from '../../src/base/index.ts'
import {
  DiscordjsGateway,
  type DiscordjsGatewayOptions,
} from '../../src/consumer/discordjs/index.ts'
import { serviceClient } from '../../src/consumer/grpc/proto-files.ts'
import type { EventSource, Intake } from '../../src/consumer/index.ts'
import { until } from '../support/until.ts'
import { envelopeOf, messageOf, termOf } from './world.ts'

const GUILD = '81384788765712384'

/** Events as the test writes them. */
class WrittenSource implements EventSource {
  intake!: Intake
  confirmed = 0

  async start({ intake }: { readonly intake: Intake }): Promise<void> {
    this.intake = intake
  }

  write(payload: Buffer): void {
    const confirm = (): void => void this.confirmed++
    this.intake.take({ eventName: 'MESSAGE_CREATE', stamp: undefined, payload, confirm })
  }

  async pause(): Promise<void> {}
  async close(): Promise<void> {}
}

interface Call {
  readonly method: string
  readonly request: object
  readonly authorization: unknown
}

/** A server of gateway.v1.Commands: keeps what is asked, answers what the test says. */
class CommandsServer {
  readonly calls: Call[] = []
  answer: object = { outcome: 'DONE' }
  address = ''
  readonly #server = new Server()

  async start(): Promise<void> {
    const unary =
      (method: string, isList: boolean) =>
      (call: ServerUnaryCall<object, object>, done: sendUnaryData<object>): void => {
        this.#keep(method, call)
        done(null, isList ? { answers: [{ outcome: 'DONE' }, this.answer] } : this.answer)
      }
    this.#server.addService(serviceClient('commands.proto', 'gateway.v1.Commands').service, {
      UpdatePresence: unary('UpdatePresence', true),
      UpdateVoiceState: unary('UpdateVoiceState', false),
      RequestSoundboardSounds: unary('RequestSoundboardSounds', true),
      RequestChannelInfo: unary('RequestChannelInfo', false),
      RequestGuildMembers: (call: ServerWritableStream<object, object>) => {
        this.#keep('RequestGuildMembers', call)
        call.write(this.answer)
        call.end()
      },
    })
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      )
    })
    this.address = `127.0.0.1:${port}`
  }

  stop(): void {
    this.#server.forceShutdown()
  }

  #keep(
    method: string,
    call: { request: object; metadata: { get(key: string): unknown[] } },
  ): void {
    const [authorization] = call.metadata.get('authorization')
    this.calls.push({ method, request: call.request, authorization })
  }
}

let commands: CommandsServer
let source: WrittenSource
const gateways: DiscordjsGateway[] = []

beforeEach(async () => {
  commands = new CommandsServer()
  source = new WrittenSource()
  await commands.start()
})

afterEach(async () => {
  await Promise.all(gateways.splice(0).map((gateway) => gateway.destroy(0)))
  commands.stop()
})

function gatewayWith(options: Partial<DiscordjsGatewayOptions> = {}): DiscordjsGateway {
  const gateway = new DiscordjsGateway({
    from: source,
    commands: { address: commands.address, token: 'backend' },
    log: silentLog,
    ...options,
  })
  gateways.push(gateway)
  return gateway
}

describe('the gateway of @discordjs/core', () => {
  test('gives a Client its events, with shard and API', async () => {
    const gateway = gatewayWith()
    const client = new Client({ rest: new REST(), gateway })
    const seen: unknown[] = []
    client.on(GatewayDispatchEvents.MessageCreate, ({ data, shardId, api }) => {
      seen.push([data.content, data.guild_id, shardId, api === client.api])
    })
    await gateway.connect()
    source.write(envelopeOf({ s: 5 }))
    await until(() => source.confirmed === 1)
    expect(seen).toEqual([['message 5', GUILD, 3, true]])
    expect(await gateway.getShardCount()).toBe(16)
  })

  test('tells the shard of a bare payload by its guild', async () => {
    const gateway = gatewayWith({ shardCount: 7 })
    const shards: number[] = []
    gateway.on('dispatch', (_payload, shardId) => void shards.push(shardId))
    await gateway.connect()
    source.write(termOf(messageOf({ s: 1 })))
    source.write(termOf(messageOf({ s: 2, guildId: null })))
    await until(() => source.confirmed === 2)
    expect(shards).toEqual([Number((BigInt(GUILD) >> 22n) % 7n), 0])
  })

  test('confirms an event when the bot’s listeners have ended, if it is told how to know', async () => {
    const gate = Promise.withResolvers<void>()
    const gateway = gatewayWith({ handled: () => client.waitForAllListenersToComplete() })
    const client: Client = new Client({ rest: new REST(), gateway })
    let begun = 0
    client.on(GatewayDispatchEvents.MessageCreate, async () => {
      begun++
      await gate.promise
    })
    await gateway.connect()
    source.write(envelopeOf({ s: 1 }))
    await until(() => begun === 1)
    expect(gateway.stats().inFlight).toBe(1)
    expect(source.confirmed).toBe(0)
    gate.resolve()
    await until(() => source.confirmed === 1)
  })
})

describe('send()', () => {
  test('carries what a Client sends to the commands of the gateway, with the token', async () => {
    const gateway = gatewayWith({ shardCount: 1 })
    const client = new Client({ rest: new REST(), gateway })
    await client.updatePresence(0, {
      since: null,
      activities: [{ name: 'chess', type: 0 }],
      status: PresenceUpdateStatus.Idle,
      afk: false,
    })
    await client.updateVoiceState({
      guild_id: GUILD,
      channel_id: '381870553235193857',
      self_mute: true,
      self_deaf: false,
    })
    await client.updateVoiceState({
      guild_id: GUILD,
      channel_id: null,
      self_mute: false,
      self_deaf: false,
    })
    await gateway.send(0, {
      op: GatewayOpcodes.RequestGuildMembers,
      d: { guild_id: GUILD, user_ids: '5', nonce: 'n', presences: true },
    })
    await gateway.send(0, {
      op: GatewayOpcodes.RequestSoundboardSounds,
      d: { guild_ids: [GUILD, '5'] },
    })
    expect(commands.calls.map(({ method }) => method)).toEqual([
      'UpdatePresence',
      'UpdateVoiceState',
      'UpdateVoiceState',
      'RequestGuildMembers',
      'RequestSoundboardSounds',
    ])
    const [presence, join, leave, members, sounds] = commands.calls.map(({ request }) => request)
    expect(presence).toMatchObject({
      presence: { activities: [{ name: 'chess', type: 0 }], status: 'idle', afk: false },
      shards: [0],
      wait: true,
    })
    expect(presence).not.toHaveProperty('presence.since')
    expect(join).toMatchObject({
      guild_id: GUILD,
      channel_id: '381870553235193857',
      self_mute: true,
    })
    expect(leave).toMatchObject({ guild_id: GUILD, wait: true })
    expect(leave).not.toHaveProperty('channel_id')
    expect(members).toMatchObject({ guild_id: GUILD, user_ids: ['5'], nonce: 'n', presences: true })
    expect(sounds).toMatchObject({ guild_ids: [GUILD, '5'], wait: true })
    expect(commands.calls.every(({ authorization }) => authorization === 'Bearer backend')).toBe(
      true,
    )
  })

  test.each([
    ['one answer', GatewayOpcodes.VoiceStateUpdate],
    ['an answer among several', GatewayOpcodes.PresenceUpdate],
    ['a stream of answers', GatewayOpcodes.RequestGuildMembers],
  ])('a refusal in %s rejects with the code and the sentence of the gateway', async (_in, op) => {
    commands.answer = {
      outcome: 'REFUSED',
      code: 'COMMAND_NO_SHARD',
      reason: 'Nobody holds shard 3.',
      wait_ms: '500',
    }
    const payload = { op, d: { guild_id: GUILD, query: '', limit: 0, channel_id: null } }
    await expect(gatewayWith().send(0, payload as never)).rejects.toMatchObject({
      code: 'CONSUMER_COMMAND_REFUSED',
      message: expect.stringContaining('Nobody holds shard 3. (COMMAND_NO_SHARD)') as string,
      details: { code: 'COMMAND_NO_SHARD', waitMs: 500 },
      retryable: true,
    })
  })

  test('what belongs to the session is refused; without an address, and without a gateway, it says so', async () => {
    const heartbeat = { op: GatewayOpcodes.Heartbeat, d: 5 } as const
    await expect(gatewayWith().send(0, heartbeat)).rejects.toThrow('cannot send op 1')
    const bare = new DiscordjsGateway({ from: source })
    await expect(bare.send(0, heartbeat)).rejects.toMatchObject({ details: { option: 'commands' } })
    commands.stop()
    const presence = {
      op: GatewayOpcodes.PresenceUpdate as const,
      d: { since: null, activities: [], status: PresenceUpdateStatus.Online, afk: false },
    }
    await expect(gatewayWith().send(0, presence)).rejects.toMatchObject({
      code: 'CONSUMER_UNREACHABLE',
      retryable: true,
    })
  })

  test('without a token where one is asked for, the gateway’s words come through', async () => {
    const server = new Server()
    server.addService(serviceClient('commands.proto', 'gateway.v1.Commands').service, {
      UpdatePresence: (_call: unknown, done: sendUnaryData<object>) =>
        done({ code: status.UNAUTHENTICATED, details: 'A token is needed.' }),
    })
    const port = await new Promise<number>((resolve) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_error, bound) =>
        resolve(bound),
      )
    })
    const gateway = gatewayWith({ commands: { address: `127.0.0.1:${port}` } })
    const payload = { op: GatewayOpcodes.PresenceUpdate, d: { since: null } } as never
    await expect(gateway.send(0, payload)).rejects.toThrow('A token is needed.')
    server.forceShutdown()
  })
})
