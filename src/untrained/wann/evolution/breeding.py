"""Breeding and expression of genomes: compiled loops over the arrays of a population.

Numba compiles plain loops several times faster than expressions of arrays, which a new user waits for.
"""

import numpy as np

from untrained.wann.numerics.jit import compiled


@compiled
def _group(keys, values, chosen, count):
    """Return (first, grouped): the chosen values with key k are grouped[first[k] : first[k + 1]], in their order."""
    first = np.zeros(count + 2, np.int32)
    for e in range(keys.shape[0]):
        if chosen[e]:
            first[keys[e] + 2] += 1
    for k in range(count):
        first[k + 2] += first[k + 1]
    grouped = np.zeros(first[count + 1], np.int32)
    for e in range(keys.shape[0]):
        if chosen[e]:
            grouped[first[keys[e] + 1]] = values[e]
            first[keys[e] + 1] += 1  # from the start of its group to the end, which is the start of the next
    return first, grouped


@compiled
def layers(fixed, nodes, src, dst):
    """Return the longest-path layer (from 1) of every hidden node, an order to visit them in, and its length.

    All genes between hidden nodes count. If these go round in a circle, not every hidden node is in the order.
    """
    hidden = nodes - fixed
    inner = np.zeros(src.shape[0], np.uint8)
    for e in range(src.shape[0]):
        inner[e] = src[e] >= fixed and dst[e] >= fixed
    first, targets = _group(src, dst, inner, nodes)
    layer, order, waits = np.zeros(hidden, np.int32), np.zeros(hidden, np.int32), np.zeros(hidden, np.int32)
    for e in range(src.shape[0]):
        if inner[e]:
            waits[dst[e] - fixed] += 1
    ready = 0
    for i in range(hidden):
        layer[i] = 1
        if waits[i] == 0:
            order[ready] = i
            ready += 1
    done = 0
    while done < ready:
        i = order[done]
        done += 1
        for t in range(first[fixed + i], first[fixed + i + 1]):
            j = targets[t] - fixed
            layer[j] = max(layer[j], layer[i] + 1)
            waits[j] -= 1
            if waits[j] == 0:
                order[ready] = j
                ready += 1
    return layer, order, ready


@compiled
def _pick(values, wanted, u):
    """Return the place of one of the values that equal `wanted`, by a uniform number u in [0, 1); -1 if none does."""
    count = 0
    for e in range(values.shape[0]):
        count += values[e] == wanted
    n = min(int(u * count), count - 1)
    for e in range(values.shape[0]):
        if values[e] == wanted:
            if n == 0:
                return e
            n -= 1
    return -1


@compiled
def _new_connection(inputs, outputs, nodes, src, dst, u_source, u_target):
    """Draw a pair (source, target) without a gene, the target in a later layer; (-1, -1) if there is none.

    A source is drawn among the nodes that have such a target, then one of its targets: the same as trying sources in
    random order until one has a target.
    """
    fixed = inputs + 1 + outputs
    hidden_layer, _, _ = layers(fixed, nodes, src, dst)
    last = 1
    for i in range(nodes - fixed):
        last = max(last, hidden_layer[i] + 1)
    layer, later = np.zeros(nodes, np.int32), np.zeros(last + 1, np.int32)  # later: number of nodes in layers after one
    for i in range(inputs + 1, nodes):
        layer[i] = last if i < fixed else hidden_layer[i - fixed]
        for before in range(layer[i]):
            later[before] += 1
    targets = np.zeros(nodes, np.int32)  # number of genes from this node
    for e in range(src.shape[0]):
        targets[src[e]] += 1
    is_open = np.zeros(nodes, np.uint8)
    for i in range(nodes):
        is_open[i] = targets[i] < later[layer[i]]
    source = _pick(is_open, 1, u_source)
    if source < 0:
        return -1, -1
    for i in range(nodes):
        is_open[i] = layer[i] > layer[source]
    for e in range(src.shape[0]):
        if src[e] == source:
            is_open[dst[e]] = 0
    return source, _pick(is_open, 1, u_target)


@compiled
def breed(inputs, outputs, parents, mutate, draws, chances, activations, old, new):
    """Copy each parent, then change one thing: chances are cumulative, in the order of `Preset.mutations`."""
    old_act, old_src, old_dst, old_on, old_nodes, old_genes = old
    new_act, new_src, new_dst, new_on, new_nodes, new_genes = new
    fixed = inputs + 1 + outputs
    others = np.zeros(activations.shape[0], np.uint8)
    for c in range(parents.shape[0]):
        p = parents[c]
        n, m, u = old_nodes[p], old_genes[p], draws[c]
        act, src, dst, on = new_act[c], new_src[c], new_dst[c], new_on[c]
        for i in range(n):
            act[i] = old_act[p, i]
        for e in range(m):
            src[e], dst[e], on[e] = old_src[p, e], old_dst[p, e], old_on[p, e]
        new_nodes[c], new_genes[c] = n, m
        if not mutate[c]:
            continue
        if u[0] < chances[0]:
            source, target = _new_connection(inputs, outputs, n, src[:m], dst[:m], u[1], u[2])
            if source >= 0:
                src[m], dst[m], on[m] = source, target, 1
                new_genes[c] = m + 1
        elif u[0] < chances[1]:
            e = _pick(on[:m], 1, u[1])
            if e >= 0:
                on[e] = 0
                src[m], dst[m], on[m] = src[e], n, 1
                src[m + 1], dst[m + 1], on[m + 1] = n, dst[e], 1
                act[n] = activations[min(int(u[2] * activations.shape[0]), activations.shape[0] - 1)]
                new_nodes[c], new_genes[c] = n + 1, m + 2
        elif u[0] < chances[2]:
            e = _pick(on[:m], 0, u[1])
            if e >= 0:
                on[e] = 1
        elif u[0] < chances[3]:
            works = 0
            for e in range(m):
                works += on[e]
            e = _pick(on[:m], 1, u[1])
            if works > 1:  # without connections all networks are equal, and no search gets away from there
                on[e] = 0
        elif n > fixed:
            i = fixed + min(int(u[1] * (n - fixed)), n - fixed - 1)
            for k in range(activations.shape[0]):
                others[k] = activations[k] != act[i]
            other = _pick(others, 1, u[2])
            if other >= 0:
                act[i] = activations[other]


@compiled
def express(inputs, outputs, disabled_stay, genomes, node_ptr, edge_ptr, all_src, all_act, switched_on):
    """Set the arrays of a Packed and the connections that each genome has switched on; return their used lengths."""
    act, src, dst, on, nodes, genes = genomes
    fixed = inputs + 1 + outputs
    row, edge = 0, 0
    for p in range(nodes.shape[0]):
        n, m = nodes[p], genes[p]
        sources, targets = src[p, :m], dst[p, :m]
        works = np.zeros(m, np.uint8)
        for e in range(m):
            works[e] = on[p, e] != 0 or (disabled_stay and sources[e] >= fixed and targets[e] >= fixed)
            switched_on[p] += works[e]
        _, order, _ = layers(fixed, n, sources, targets)
        first, incoming = _group(targets, sources, works, n)
        live = np.zeros(n, np.uint8)  # nodes with a way to an output
        for t in range(first[inputs + 1], first[fixed]):
            live[incoming[t]] = 1
        for k in range(n - fixed - 1, -1, -1):
            i = order[k] + fixed
            if live[i]:
                for t in range(first[i], first[i + 1]):
                    live[incoming[t]] = 1
        number = np.zeros(n, np.int32)  # of each node in the network
        for i in range(inputs + 1):
            number[i] = i
        own = inputs + 1
        for k in range(n - inputs - 1):
            i = order[k] + fixed if k < n - fixed else inputs + 1 + k - (n - fixed)
            if k < n - fixed and not live[i]:
                continue
            number[i] = own
            own += 1
            for t in range(first[i], first[i + 1]):
                all_src[edge] = number[incoming[t]]
                edge += 1
            all_act[row] = act[p, i]
            row += 1
            edge_ptr[row] = edge
        node_ptr[p + 1] = row
    return row, edge
