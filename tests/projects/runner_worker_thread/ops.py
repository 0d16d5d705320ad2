"""As a service does it that migrates while its event loop runs."""

import anyio


def run(config, call):
    async def main():
        async with anyio.create_task_group():
            return await anyio.to_thread.run_sync(call)

    return anyio.run(main)
