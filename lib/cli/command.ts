export interface Command {
  name: string;
  summary: string;
  usage: string;
  run(args: string[], io: { stdout: NodeJS.WritableStream; stderr: NodeJS.WritableStream }): Promise<number>;
}
