// A Worker that reads a ticket, so that one which asks for much holds up nothing.

function startTicketReader() {
  onmessage = ({ data }) => {
    try {
      postMessage({ kind: "found", ...readFound(data) });
    } catch (error) {
      postMessage({ kind: "refused", why: error.message });
    }
  };
}
