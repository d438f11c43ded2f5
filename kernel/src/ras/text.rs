//! Reports in the words of Linux's log, which tools look for.

use core::fmt;

use cper::{ArmErrorKinds, MemoryErrorType, Section, Severity, StatusBlock};

/// A status block as the lines of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// Its number since boot, from 1.
    pub(super) number: u32,
    /// The source's identifier in the HEST.
    pub(super) source: u16,
    /// The block.
    pub(super) block: &'a StatusBlock<'a>,
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines {
            number: self.number,
            is_first: true,
            formatter,
        };
        lines.add(format_args!(
            "Hardware error from APEI Generic Hardware Error Source: {}",
            self.source
        ))?;
        if self.block.severity() == Severity::Corrected {
            lines.add(format_args!(
                "It has been corrected by h/w and requires no further action"
            ))?;
        }
        let severity = name(self.block.severity());
        lines.add(format_args!("event severity: {severity}"))?;
        for (index, entry) in self.block.entries().enumerate() {
            let severity = name(entry.info.severity);
            lines.add(format_args!(" Error {index}, type: {severity}"))?;
            if let Some(id) = entry.info.fru_id {
                lines.add(format_args!(" fru_id: {id}"))?;
            }
            if let Some(text) = entry.info.fru_text {
                lines.add(format_args!(" fru_text: {text}"))?;
            }
            match entry.section() {
                Ok(section) => lines.section(&section)?,
                Err(error) => lines.add(format_args!("  section cannot be read: {error}"))?,
            }
        }
        Ok(())
    }
}

struct Lines<'a, 'b> {
    number: u32,
    is_first: bool,
    formatter: &'a mut fmt::Formatter<'b>,
}

impl Lines<'_, '_> {
    fn add(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        if !self.is_first {
            self.formatter.write_str("\n")?;
        }
        self.is_first = false;
        write!(
            self.formatter,
            "{{{}}}[Hardware Error]: {text}",
            self.number
        )
    }

    fn section(&mut self, section: &Section<'_>) -> fmt::Result {
        match section {
            Section::Memory(memory) => {
                self.add(format_args!("  section_type: memory error"))?;
                if let Some(status) = memory.error_status() {
                    self.add(format_args!("  error_status: {status:#018x}"))?;
                }
                if let Some(address) = memory.physical_address() {
                    self.add(format_args!("  physical_address: {address:#018x}"))?;
                }
                if let Some(mask) = memory.physical_address_mask() {
                    self.add(format_args!("  physical_address_mask: {mask:#018x}"))?;
                }
                if let Some(kind) = memory.error_type() {
                    let (code, words) = (kind.code(), kind_name(kind));
                    self.add(format_args!("  error_type: {code}, {words}"))?;
                }
                Ok(())
            }
            Section::ArmProcessor(arm) => {
                self.add(format_args!("  section_type: ARM processor error"))?;
                self.add(format_args!("  MIDR: {:#018x}", arm.midr))?;
                if let Some(mpidr) = arm.mpidr {
                    self.add(format_args!(
                        "  Multiprocessor Affinity Register (MPIDR): {mpidr:#018x}"
                    ))?;
                }
                for (index, error) in arm.errors.iter().enumerate() {
                    self.add(format_args!("  Error info structure {index}:"))?;
                    let kinds = error.kinds();
                    let cache = if kinds.contains(ArmErrorKinds::CACHE) {
                        ": cache error"
                    } else {
                        ""
                    };
                    self.add(format_args!(
                        "   error_type: {:#04x}{cache}",
                        error.kind_bits()
                    ))?;
                    if let Some(address) = error.virtual_address() {
                        self.add(format_args!("   virtual fault address: {address:#018x}"))?;
                    }
                    if let Some(address) = error.physical_address() {
                        self.add(format_args!("   physical fault address: {address:#018x}"))?;
                    }
                }
                Ok(())
            }
            Section::Other {
                section_type,
                bytes,
            } => {
                self.add(format_args!("  section type: unknown, {section_type}"))?;
                self.add(format_args!("  section length: {:#x}", bytes.len()))
            }
        }
    }
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Recoverable => "recoverable",
        Severity::Fatal => "fatal",
        Severity::Corrected => "corrected",
        Severity::Informational => "info",
        Severity::Reserved(_) => "unknown",
    }
}

fn kind_name(kind: MemoryErrorType) -> &'static str {
    use MemoryErrorType as Kind;
    match kind {
        Kind::NoError => "no error",
        Kind::SingleBitEcc => "single-bit ECC",
        Kind::MultiBitEcc => "multi-bit ECC",
        Kind::SingleSymbolChipkillEcc => "single-symbol chipkill ECC",
        Kind::MultiSymbolChipkillEcc => "multi-symbol chipkill ECC",
        Kind::MasterAbort => "master abort",
        Kind::TargetAbort => "target abort",
        Kind::Parity => "parity error",
        Kind::WatchdogTimeout => "watchdog timeout",
        Kind::InvalidAddress => "invalid address",
        Kind::MirrorBroken => "mirror Broken",
        Kind::Sparing => "memory sparing",
        Kind::ScrubCorrected => "scrub corrected error",
        Kind::ScrubUncorrected => "scrub uncorrected error",
        Kind::MapOut => "physical memory map-out event",
        Kind::Unknown | Kind::Reserved(_) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use cper::StatusBlock;
    use firmware::Record as Reported;

    use super::Record;

    fn lines(reported: &Reported) -> String {
        let block = reported.encode(1);
        let block = StatusBlock::parse(block.as_bytes()).unwrap();
        let record = Record {
            number: 1,
            source: 0,
            block: &block,
        };
        record.to_string()
    }

    #[test]
    fn an_error_is_told_as_linux_tells_it() {
        let consumer = firmware::Consumer {
            mpidr: 0,
            midr: 0,
            virtual_address: None,
            fetch: false,
            restartable: false,
            uncontainable: false,
        };
        // Compare docs/linux-transcript.md.
        let hit = Reported::hit(control::Policy::empty(), 0x7a1d_8400, consumer);
        assert_eq!(
            lines(&hit),
            "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0\n\
             {1}[Hardware Error]: event severity: recoverable\n\
             {1}[Hardware Error]:  Error 0, type: recoverable\n\
             {1}[Hardware Error]:   section_type: memory error\n\
             {1}[Hardware Error]:   physical_address: 0x000000007a1d8400\n\
             {1}[Hardware Error]:   physical_address_mask: 0xffffffffffffffc0\n\
             {1}[Hardware Error]:   error_type: 3, multi-bit ECC"
        );
    }

    #[test]
    fn a_processor_error_and_a_corrected_one_are_told_too() {
        let consumer = firmware::Consumer {
            mpidr: 1,
            midr: 0x410f_d0c1,
            virtual_address: Some(0x1000),
            fetch: false,
            restartable: false,
            uncontainable: false,
        };
        let text = lines(&Reported::hit(control::Policy::PROCESSOR, 0x4000, consumer));
        for part in [
            "cache error",
            "MIDR: 0x00000000410fd0c1",
            "physical fault address",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let text = lines(&Reported::notice(control::Notice::Corrected, 0x4000));
        assert!(text.contains("requires no further action"), "{text}");
        assert!(text.contains("error_type: 2, single-bit ECC"), "{text}");
    }
}
