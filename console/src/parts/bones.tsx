/** In place of chats that are being read. */
export function Bones() {
  return (
    <div class="card stack" role="status" aria-label="The chats are being read">
      {[90, 70, 80, 60, 75].map((width) => (
        <div key={width} class={`bone w${width}`} />
      ))}
    </div>
  );
}
