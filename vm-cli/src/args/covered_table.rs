//! The rows of [`super::covered`].

const SETTINGS: &str = "vm-cli/src/settings/tests.rs";
const REFUSALS: &str = "vm-cli/tests/bad_input.rs";
const ENGINE: &str = "vm-cli/tests/engine.rs";
const OPTIONS: &str = "tests/tests/options.rs";
const BARE: &str = "tests/tests/bare.rs";
const SERIAL: &str = "tests/tests/serial.rs";
const TERMINAL: &str = "tests/tests/terminal.rs";
const POWER: &str = "tests/tests/power.rs";
const NETWORK: &str = "tests/tests/network.rs";
const FAULTS: &str = "tests/tests/network_faults.rs";
const GDB: &str = "tests/tests/gdb.rs";
const BALLOON: &str = "tests/tests/balloon.rs";
const DISK: &str = "tests/tests/disk.rs";
const PC_DEVICES: &str = "tests/tests/pc_devices.rs";
const RTC: &str = "vm-service/src/rtc.rs";
const LINES: &str = "vm-service/src/serial/tests.rs";

/// What is typed, or a variable's name; the file and the name of the test. A word of a value is behind its option.
pub(super) const COVERED: &[(&str, &str, &str)] = &[
    (
        "run --config",
        OPTIONS,
        "configuration_file_describes_the_machine",
    ),
    (
        "run --config toml",
        SETTINGS,
        "config_option_reads_the_file",
    ),
    (
        "run --kernel",
        BARE,
        "debug_console_and_legacy_console_give_what_is_typed",
    ),
    (
        "run --initrd",
        "tests/tests/shell.rs",
        "shell_one_cpu_runs_programs",
    ),
    ("run IMAGE", REFUSALS, "kernel_without_its_option_is_one"),
    ("run --append", OPTIONS, "machine_options_reach_the_guest"),
    (
        "run --bios",
        "tests/tests/firmware.rs",
        "opensbi_dynamic_starts_u_boot_up_to_its_prompt",
    ),
    (
        "run --bios none",
        BARE,
        "dump_signature_writes_the_words_between_the_symbols",
    ),
    (
        "run --bios builtin",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --no-reboot",
        POWER,
        "reboot_with_no_reboot_ends_with_the_reset_code",
    ),
    (
        "run --no-reboot on",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --no-reboot off",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --stats on",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --stats off",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --verify on",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --verify off",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --perf-map on",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --perf-map off",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    ("run --arch", REFUSALS, "unknown_names_suggest_the_nearest"),
    (
        "run --cpus",
        "tests/tests/shell.rs",
        "shell_four_cpus_run_programs",
    ),
    ("run --cpu", OPTIONS, "machine_options_reach_the_guest"),
    ("run --memory", OPTIONS, "machine_options_reach_the_guest"),
    (
        "run --accel",
        ENGINE,
        "accel_chooses_and_says_what_runs_the_guest",
    ),
    (
        "run --code-cache auto",
        "vm-core/src/config/tests.rs",
        "code_cache_of_its_own_choice_follows_the_hosts_memory",
    ),
    (
        "run --code-cache",
        ENGINE,
        "code_cache_that_cannot_be_had_is_announced",
    ),
    (
        "run --code-cache auto",
        "vm-core/src/config/tests.rs",
        "code_cache_of_its_own_choice_follows_the_hosts_memory",
    ),
    ("run --disk", DISK, "fsync_then_kill_keeps_the_file"),
    ("run --disk file", DISK, "fsync_then_kill_keeps_the_file"),
    (
        "run --disk format",
        "vm-core/src/config/tests.rs",
        "disk_mistakes_name_the_nearest_word",
    ),
    (
        "run --disk raw",
        "vm-core/src/config/tests.rs",
        "disk_mistakes_name_the_nearest_word",
    ),
    (
        "run --disk readonly",
        OPTIONS,
        "machine_options_reach_the_guest",
    ),
    (
        "run --disk snapshot",
        DISK,
        "snapshot_disk_forgets_what_was_written",
    ),
    (
        "run --disk on",
        DISK,
        "snapshot_disk_forgets_what_was_written",
    ),
    (
        "run --disk on-full",
        DISK,
        "disk_without_room_on_the_host_waits_and_goes_on",
    ),
    (
        "run --disk pause",
        "vm-core/src/config/tests.rs",
        "disk_every_option_arrives",
    ),
    (
        "run --disk report",
        DISK,
        "disk_without_room_on_the_host_can_report_it",
    ),
    (
        "run --disk serial",
        OPTIONS,
        "machine_options_reach_the_guest",
    ),
    (
        "run --disk slot",
        OPTIONS,
        "slots_are_by_kind_and_pinned_where_asked",
    ),
    (
        "run --net",
        NETWORK,
        "nat_guest_has_an_address_and_moves_data_both_ways",
    ),
    (
        "run --net user",
        NETWORK,
        "nat_guest_has_an_address_and_moves_data_both_ways",
    ),
    (
        "run --net hostfwd",
        NETWORK,
        "hostfwd_client_on_the_host_reaches_a_server_in_the_guest",
    ),
    (
        "run --net pcap",
        NETWORK,
        "pcap_file_has_every_frame_of_a_ping",
    ),
    ("run --net mac", OPTIONS, "machine_options_reach_the_guest"),
    (
        "run --net hostname",
        OPTIONS,
        "machine_options_reach_the_guest",
    ),
    (
        "run --net loss",
        FAULTS,
        "lossy_network_loses_frames_and_no_data",
    ),
    (
        "run --net none",
        "vm-service/src/assemble/tests.rs",
        "assembly_net_none_is_no_card",
    ),
    ("run --net net", NETWORK, "network_options_reach_the_guest"),
    ("run --net mtu", NETWORK, "network_options_reach_the_guest"),
    ("run --net dns", NETWORK, "network_options_reach_the_guest"),
    ("run --net ipv", NETWORK, "network_options_reach_the_guest"),
    (
        "run --net restrict",
        NETWORK,
        "restricted_guest_reaches_what_is_allowed_and_nothing_else",
    ),
    (
        "run --net allow",
        NETWORK,
        "restricted_guest_reaches_what_is_allowed_and_nothing_else",
    ),
    (
        "run --net slot",
        OPTIONS,
        "slots_are_by_kind_and_pinned_where_asked",
    ),
    (
        "run --net on",
        NETWORK,
        "restricted_guest_reaches_what_is_allowed_and_nothing_else",
    ),
    ("run --net off", NETWORK, "network_options_reach_the_guest"),
    ("run --serial", SERIAL, "serial_file_has_the_whole_console"),
    (
        "run --serial stdio",
        "tests/tests/shell.rs",
        "shell_one_cpu_runs_programs",
    ),
    (
        "run --serial file",
        SERIAL,
        "serial_file_has_the_whole_console",
    ),
    (
        "run --serial unix",
        SERIAL,
        "serial_unix_socket_serves_one_client_after_the_other",
    ),
    (
        "run --serial pty",
        SERIAL,
        "serial_pty_is_a_terminal_for_another_program",
    ),
    ("run --serial null", BARE, "serial_null_shows_nothing"),
    (
        "run --console",
        SERIAL,
        "virtio_console_is_a_terminal_of_the_guest",
    ),
    (
        "run --console stdio",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --console file",
        SERIAL,
        "virtio_console_is_a_terminal_of_the_guest",
    ),
    (
        "run --console unix",
        LINES,
        "unix_line_keeps_output_for_the_first_client_and_serves_the_next",
    ),
    (
        "run --console pty",
        LINES,
        "pty_line_carries_both_directions",
    ),
    (
        "run --console null",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --port",
        SERIAL,
        "named_port_is_a_stream_between_programs_of_guest_and_host",
    ),
    (
        "run --port name",
        SERIAL,
        "named_port_is_a_stream_between_programs_of_guest_and_host",
    ),
    (
        "run --port to",
        SERIAL,
        "named_port_is_a_stream_between_programs_of_guest_and_host",
    ),
    (
        "run --port unix",
        SERIAL,
        "named_port_is_a_stream_between_programs_of_guest_and_host",
    ),
    (
        "run --port file",
        SERIAL,
        "named_port_is_a_stream_between_programs_of_guest_and_host",
    ),
    ("run --port pty", LINES, "pty_line_carries_both_directions"),
    (
        "run --port null",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --bios seabios",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --bios uefi",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --disk bus",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    (
        "run --disk virtio",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    (
        "run --disk ahci",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    (
        "run --disk nvme",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    (
        "run --disk media",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    (
        "run --disk disk",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    (
        "run --disk cdrom",
        "vm-core/src/config/tests.rs",
        "disk_buses_and_media_go_together",
    ),
    ("run --cdrom", SETTINGS, "every_option_wins_over_the_file"),
    (
        "run --screenshot",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    ("run --display", PC_DEVICES, "ramfb_shows_what_ovmf_draws"),
    (
        "run --display vga",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --display ramfb",
        PC_DEVICES,
        "ramfb_shows_what_ovmf_draws",
    ),
    (
        "run --display none",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --display auto",
        REFUSALS,
        "displays_and_pcs_devices_go_together",
    ),
    (
        "run --watchdog",
        PC_DEVICES,
        "watchdog_that_is_left_alone_resets_the_machine",
    ),
    (
        "run --watchdog on",
        PC_DEVICES,
        "watchdog_that_is_left_alone_resets_the_machine",
    ),
    (
        "run --watchdog off",
        REFUSALS,
        "displays_and_pcs_devices_go_together",
    ),
    (
        "run --debug-exit",
        PC_DEVICES,
        "bare_program_ends_the_machine_with_its_status",
    ),
    (
        "run --debug-exit on",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --debug-exit off",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --test-device",
        PC_DEVICES,
        "bare_program_ends_the_machine_with_its_status",
    ),
    (
        "run --test-device on",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --test-device off",
        SETTINGS,
        "switches_are_on_alone_and_take_a_value",
    ),
    (
        "run --debugcon",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --debugcon stdio",
        "vm-core/src/config/tests.rs",
        "check_gives_the_terminal_to_one_port",
    ),
    (
        "run --debugcon file",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --debugcon null",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --debugcon unix",
        LINES,
        "unix_line_keeps_output_for_the_first_client_and_serves_the_next",
    ),
    (
        "run --debugcon pty",
        LINES,
        "pty_line_carries_both_directions",
    ),
    (
        "run --balloon",
        BALLOON,
        "balloon_off_leaves_the_device_out",
    ),
    (
        "run --balloon on",
        SETTINGS,
        "every_option_wins_over_the_file",
    ),
    (
        "run --balloon off",
        BALLOON,
        "balloon_off_leaves_the_device_out",
    ),
    (
        "run --escape",
        TERMINAL,
        "terminal_paste_resize_and_escape_key_reach_whom_they_are_for",
    ),
    (
        "run --escape none",
        "vm-cli/src/escape.rs",
        "take_other_escape_keys_leave_ctrl_a_to_the_guest",
    ),
    (
        "run --on-panic",
        POWER,
        "panic_that_stands_still_ends_the_machine_when_asked_to",
    ),
    (
        "run --on-panic stop",
        POWER,
        "panic_that_stands_still_ends_the_machine_when_asked_to",
    ),
    (
        "run --on-panic wait",
        POWER,
        "panic_that_stands_still_is_announced",
    ),
    (
        "run --dtb",
        OPTIONS,
        "device_tree_that_is_brought_is_the_guests",
    ),
    (
        "run --dump-dtb",
        REFUSALS,
        "device_tree_is_dumped_and_taken_back",
    ),
    ("run --rtc", SETTINGS, "every_option_wins_over_the_file"),
    ("run --rtc utc", RTC, "shown_is_what_was_asked_for"),
    ("run --rtc local", RTC, "shown_is_what_was_asked_for"),
    ("run --rng", OPTIONS, "machine_options_reach_the_guest"),
    (
        "run --rng on",
        OPTIONS,
        "entropy_device_is_there_by_default",
    ),
    ("run --rng off", OPTIONS, "machine_options_reach_the_guest"),
    ("run --virtio", OPTIONS, "machine_options_reach_the_guest"),
    (
        "run --virtio pci",
        OPTIONS,
        "other_machine_options_reach_the_guest",
    ),
    (
        "run --virtio mmio",
        OPTIONS,
        "machine_options_reach_the_guest",
    ),
    (
        "run --flash",
        "tests/tests/uefi.rs",
        "edk2_shell_keeps_variables_beyond_the_machine",
    ),
    (
        "run --flash code",
        "tests/tests/uefi.rs",
        "edk2_shell_keeps_variables_beyond_the_machine",
    ),
    (
        "run --flash readonly",
        "vm-service/src/flash.rs",
        "new_variables_begin_as_those_beside_the_code_and_are_kept",
    ),
    (
        "run --flash vars",
        "tests/tests/uefi.rs",
        "edk2_shell_keeps_variables_beyond_the_machine",
    ),
    (
        "run --gdb wait",
        GDB,
        "gdb_attaches_to_a_running_machine_and_commands_it",
    ),
    ("run --gdb on", SETTINGS, "every_option_wins_over_the_file"),
    (
        "run --gdb off",
        GDB,
        "gdb_attaches_to_a_running_machine_and_commands_it",
    ),
    (
        "run --gdb",
        GDB,
        "gdb_breaks_steps_watches_interrupts_and_lets_the_guest_go_on",
    ),
    ("run --stats", ENGINE, "stats_are_printed_when_asked_for"),
    ("run --verify", ENGINE, "verify_compares_every_block"),
    (
        "run --dump",
        ENGINE,
        "dump_shows_what_is_asked_for_of_the_code_that_is_asked_for",
    ),
    (
        "run --dump ir",
        ENGINE,
        "dump_shows_what_is_asked_for_of_the_code_that_is_asked_for",
    ),
    (
        "run --dump asm",
        ENGINE,
        "dump_shows_what_is_asked_for_of_the_code_that_is_asked_for",
    ),
    (
        "run --filter",
        ENGINE,
        "dump_shows_what_is_asked_for_of_the_code_that_is_asked_for",
    ),
    ("run --perf-map", ENGINE, "perf_map_lists_translated_code"),
    (
        "run --dump-signature",
        BARE,
        "dump_signature_writes_the_words_between_the_symbols",
    ),
    (
        "run --trace",
        BARE,
        "trace_has_the_registers_that_qemu_has_before_every_instruction",
    ),
    (
        "run --trace exec",
        BARE,
        "trace_has_the_registers_that_qemu_has_before_every_instruction",
    ),
    (
        "run debian --suite",
        REFUSALS,
        "debian_options_choose_mirror_suite_and_keyring",
    ),
    (
        "run debian --mirror",
        REFUSALS,
        "debian_options_choose_mirror_suite_and_keyring",
    ),
    (
        "run debian --keyring",
        REFUSALS,
        "debian_options_choose_mirror_suite_and_keyring",
    ),
    (
        "disk create FILE",
        REFUSALS,
        "disk_create_makes_an_empty_image_and_touches_no_other",
    ),
    (
        "disk create --format",
        REFUSALS,
        "disk_create_under_another_format_s_name_is_refused",
    ),
    (
        "disk create --format raw",
        REFUSALS,
        "disk_create_under_another_format_s_name_is_refused",
    ),
    (
        "disk create SIZE",
        REFUSALS,
        "disk_create_makes_an_empty_image_and_touches_no_other",
    ),
    (
        "symbols KERNEL",
        GDB,
        "gdb_breaks_steps_watches_interrupts_and_lets_the_guest_go_on",
    ),
    (
        "symbols OUTPUT",
        GDB,
        "gdb_breaks_steps_watches_interrupts_and_lets_the_guest_go_on",
    ),
    (
        "completions SHELL",
        REFUSALS,
        "completions_and_help_are_printed",
    ),
    (
        "VM_CLI_CONFIG",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
    (
        "VM_CLI_CPUS",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
    (
        "VM_CLI_CPU",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
    (
        "VM_CLI_MEMORY",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
    (
        "VM_CLI_ACCEL",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
    ("VM_CLI_VERIFY", ENGINE, "verify_compares_every_block"),
    (
        "VM_CLI_CODE_CACHE",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
    (
        "VM_CLI_MIRROR",
        REFUSALS,
        "variables_of_the_environment_stand_for_options",
    ),
];
