import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';

interface Props {
  title: string;
  onClose(): void;
  children: ComponentChildren;
}

/** The browser's own, which keeps the focus inside and ends with Escape. */
export function Dialog({ title, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before anything is drawn: later, the focus may be elsewhere already.
  useLayoutEffect(() => {
    const { current } = dialog;
    const before = document.activeElement as HTMLElement | null;
    current?.showModal();
    return () => {
      current?.close();
      before?.focus();
      // On a busy machine what lies behind the dialog may take the focus only once the dialog is gone from the picture.
      if (document.activeElement !== before) requestAnimationFrame(() => before?.focus());
    };
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onCancel={(event) => (event.preventDefault(), onClose())}>
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}
