import { render } from 'preact';
import { App } from './app';
import { begin } from './state';
import './style.css';
import './views.css';

render(<App />, document.getElementById('app')!);
void begin();
