/** What the processes of the websocket bench tell each other. */
export interface Load {
  readonly frames: number
  /** Frames a second over all connections; 0: as fast as they are taken. */
  readonly rate: number
}

export interface ServerMessage {
  readonly type: 'listening'
  readonly port: number
  readonly cert: string
}

export interface ClientOrder {
  readonly who: 'ours' | 'ws'
  readonly url: string
  readonly cert: string
  readonly connections: number
  /** It reports when it has received so many. */
  readonly frames: number
}

export type ClientMessage =
  | { readonly type: 'open'; readonly rssBytesPerConnection: number }
  | {
      readonly type: 'done'
      readonly frames: number
      readonly bytes: number
      readonly cpuMicros: number
    }
