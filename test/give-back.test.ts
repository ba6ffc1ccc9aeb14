import sharp from 'sharp';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { visionAddon } from '../dist/addon.js';
import { lookAt } from '../dist/image/look.js';
import { Places } from '../dist/calls.js';

const addon = visionAddon();
const pixels = { data: new Uint8Array(12), width: 2, height: 2, channels: 3 as const };
const look = () => lookAt(pixels, {}, new Places(1), async () => 'seen');

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('memory that photos took', () => {
  it('is given back once, about a second after photos, and not without', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const giveBack = vi.spyOn(addon, 'giveBackMemory').mockResolvedValue(40);
    for (let i = 0; i < 3; i++) expect(await look()).toBe('seen');
    await vi.advanceTimersByTimeAsync(999);
    expect(giveBack).toHaveBeenCalledTimes(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(giveBack).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(giveBack).toHaveBeenCalledTimes(1);

    await look(); // the last time is long ago
    await vi.advanceTimersByTimeAsync(1000);
    expect(giveBack).toHaveBeenCalledTimes(2);
    await look(); // it took 40 ms, of which the next may come 50 times as much later
    await vi.advanceTimersByTimeAsync(1999);
    expect(giveBack).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(giveBack).toHaveBeenCalledTimes(3);
  });

  it('is free and given back also after photos that could not be looked at', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const giveBack = vi.spyOn(addon, 'giveBackMemory').mockResolvedValue(0);
    const photo = await sharp({ create: { width: 600, height: 400, channels: 3, background: 'grey' } }).jpeg().toBuffer();
    let data = new Uint8Array();
    const blind = async (pixels: { data: Uint8Array }) => {
      data = pixels.data;
      expect(data.length).toBe(600 * 400 * 3);
      throw new Error('blind');
    };
    await expect(lookAt(photo, {}, new Places(1), blind)).rejects.toThrow('blind');
    expect(data.length).toBe(0);
    await vi.advanceTimersByTimeAsync(600_000); // this clock begins anew, behind the one that the last time was told by
    expect(giveBack).toHaveBeenCalledTimes(1);
  });

  it('takes a time that is told', async () => {
    expect(await addon.giveBackMemory()).toBeGreaterThanOrEqual(0);
  });
});
