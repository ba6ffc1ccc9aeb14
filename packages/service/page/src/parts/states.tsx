import type { ComponentChildren } from 'preact';
import { Icon } from './icon';

export function Loading({ what }: { what: string }) {
  return <p class="state muted">Loading {what} …</p>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="state">
      <p class="state-title">{title}</p>
      {children && <p class="muted">{children}</p>}
    </div>
  );
}

/** What went wrong, in the service's own words. */
export function Failed({ title, reason, retry }: { title: string; reason: string; retry?: () => void }) {
  return (
    <div class="state state-bad" role="alert">
      <p class="state-title">
        <Icon name="warning" /> {title}
      </p>
      <p>{reason}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}
