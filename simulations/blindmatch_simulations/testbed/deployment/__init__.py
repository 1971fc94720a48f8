"""A deployment on disk and in processes: folder, addresses, servers, devices, operators, designs."""
