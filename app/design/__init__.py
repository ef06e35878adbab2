"""From a specification to verified circuits: topologies proposed, checked, judged offline, sized and ranked."""
