// A Worker that reads a ticket, so that one which asks for much holds up nothing.

function startTicketReader() {
  onmessage = ({ data }) => {
    try {
      const { head, tensors } = readTicket(data);
      postMessage({ kind: "ticket", seed: head.seed, names: Object.keys(tensors) });
    } catch (error) {
      postMessage({ kind: "refused", why: error.message });
    }
  };
}
