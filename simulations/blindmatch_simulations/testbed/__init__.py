"""What runs: deployments, scenarios over real servers, designs in one process, the audit, the demo."""
