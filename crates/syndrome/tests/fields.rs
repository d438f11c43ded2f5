//! Every field is read from its own bits and from no others.
//!
//! Positions are literals from the Arm ARM (DDI 0487), ESR_EL1 and SPSR_EL1.

use syndrome::{
    DataAbort, Esr, InstructionAbort, MemoryOperation, Pstate, SError, SoftwareStep, Syndrome,
    SystemRegisterTrap, Watchpoint,
};

macro_rules! decode_as {
    ($function:ident, $view:ident, $variant:ident) => {
        fn $function(value: u64) -> $view {
            match Esr::new(value).decode() {
                Syndrome::$variant(view) => view,
                other => panic!("{value:#x} is {other:?}"),
            }
        }
    };
}

decode_as!(data, DataAbort, DataAbort);
decode_as!(fetch, InstructionAbort, InstructionAbort);
decode_as!(serror, SError, SError);
decode_as!(mops, MemoryOperation, MemoryOperation);
decode_as!(step, SoftwareStep, SoftwareStep);
decode_as!(watch, Watchpoint, Watchpoint);
decode_as!(sysreg, SystemRegisterTrap, SystemRegister);

/// ISS and ISS2: all that is not EC, IL or reserved.
const SYNDROME_BITS: u64 = 0x00ff_ffff_01ff_ffff;

/// A base value in which the field exists, the bits on which that depends, the bits of the field,
/// and how to read it. A flag reads as 0 or 1.
type Field = (&'static str, u64, u64, u64, fn(u64) -> u64);

const ISV: u64 = 1 << 24;
const IDS: u64 = 1 << 24;
const FSC: u64 = 0x3f;

/// An address vouched for reads as 1, one withheld as 0.
const ADDRESS: u64 = 1;

#[rustfmt::skip] // One field a line.
const FIELDS: &[Field] = &[
    ("data FSC", 0x9600_0000, 0, 0x3f, |v| data(v).fault().code().into()),
    ("data WnR", 0x9600_0010, FSC, 1 << 6, |v| data(v).is_write().unwrap().into()),
    ("data S1PTW", 0x9600_0010, 0, 1 << 7, |v| data(v).on_stage1_walk().into()),
    ("data CM", 0x9600_0010, 0, 1 << 8, |v| data(v).is_cache_maintenance().into()),
    ("data EA", 0x9600_0010, FSC, 1 << 9, |v| data(v).external_abort_type().unwrap().into()),
    ("data FnV", 0x9600_0010, FSC, 1 << 10, |v| data(v).far_not_valid().unwrap().into()),
    ("data SET", 0x9600_0010, FSC, 0b11 << 11, |v| data(v).error_type().unwrap().bits().into()),
    ("data LST", 0x9600_0007, FSC, 0b11 << 11, |v| data(v).load_store_type().unwrap() as u64),
    ("data VNCR", 0x9600_0010, 0, 1 << 13, |v| data(v).is_nested_register_access().into()),
    ("data PFV", 0x9600_0010, FSC | ISV, 1 << 14, |v| data(v).physical_address(ADDRESS).unwrap_or(0)),
    ("data AR", 0x9700_0007, ISV, 1 << 14, |v| data(v).instruction().unwrap().acquire_release.into()),
    ("data FnP", 0x9600_0010, ISV, 1 << 15, |v| data(v).far_not_precise().into()),
    ("data SF", 0x9700_0007, ISV, 1 << 15, |v| data(v).instruction().unwrap().is_64bit_register.into()),
    ("data SRT", 0x9700_0007, ISV, 0x1f << 16, |v| data(v).instruction().unwrap().register.into()),
    ("data SSE", 0x9700_0007, ISV, 1 << 21, |v| data(v).instruction().unwrap().sign_extend.into()),
    ("data SAS", 0x9700_0007, ISV, 0b11 << 22, |v| data(v).instruction().unwrap().size.ilog2().into()),
    ("data ISV", 0x9600_0007, 0, 1 << 24, |v| data(v).instruction().is_some().into()),
    ("data GCS", 0x9600_0010, 0, 1 << 40, |v| data(v).is_guarded_control_stack().into()),
    ("fetch FSC", 0x8600_0000, 0, 0x3f, |v| fetch(v).fault().code().into()),
    ("fetch S1PTW", 0x8600_0010, 0, 1 << 7, |v| fetch(v).on_stage1_walk().into()),
    ("fetch EA", 0x8600_0010, FSC, 1 << 9, |v| fetch(v).external_abort_type().unwrap().into()),
    ("fetch FnV", 0x8600_0010, FSC, 1 << 10, |v| fetch(v).far_not_valid().unwrap().into()),
    ("fetch SET", 0x8600_0010, FSC, 0b11 << 11, |v| fetch(v).error_type().unwrap().bits().into()),
    ("fetch PFV", 0x8600_0010, FSC | ISV, 1 << 14, |v| fetch(v).physical_address(ADDRESS).unwrap_or(0)),
    ("SError DFSC", 0xbe00_0000, IDS, 0x3f, |v| serror(v).fault_code().unwrap().into()),
    ("SError WnR", 0xbe00_0091, IDS | FSC | 1 << 7, 1 << 6, |v| serror(v).is_write().unwrap().into()),
    ("SError WnRV", 0xbe00_0011, IDS | FSC, 1 << 7, |v| serror(v).is_write().is_some().into()),
    ("SError EA", 0xbe00_0011, IDS | FSC, 1 << 9, |v| serror(v).external_abort_type().unwrap().into()),
    ("SError AET", 0xbe00_0011, IDS | FSC, 0b111 << 10, |v| serror(v).error_type().unwrap().bits().into()),
    ("SError IESB", 0xbe00_0011, IDS | FSC, 1 << 13, |v| serror(v).by_implicit_barrier().unwrap().into()),
    ("SError PFV", 0xbe00_0011, IDS | FSC, 1 << 14, |v| serror(v).physical_address(ADDRESS).unwrap_or(0)),
    ("SError VFV", 0xbe00_0011, IDS | FSC, 1 << 15, |v| serror(v).address(ADDRESS).unwrap_or(0)),
    ("SError ELS", 0xbe00_0011, IDS | FSC, 1 << 18, |v| serror(v).triggered_by_elr().unwrap().into()),
    ("SError IDS", 0xbe00_0000, 0, 1 << 24, |v| serror(v).implementation_defined().is_some().into()),
    ("SError impdef", 0xbf00_0000, IDS, 0xff_ffff, |v| serror(v).implementation_defined().unwrap().into()),
    ("MOPS sizereg", 0x9e00_0000, 0, 0x1f, |v| mops(v).registers().size.into()),
    ("MOPS srcreg", 0x9e00_0000, 0, 0x1f << 5, |v| mops(v).registers().source.into()),
    ("MOPS destreg", 0x9e00_0000, 0, 0x1f << 10, |v| mops(v).registers().destination.into()),
    ("MOPS OptionA", 0x9e00_0000, 0, 1 << 16, |v| mops(v).option_a().into()),
    ("MOPS WrongOption", 0x9e00_0000, 0, 1 << 17, |v| mops(v).wrong_option().into()),
    ("MOPS FromEpilogue", 0x9e00_0000, 0, 1 << 18, |v| mops(v).from_epilogue().into()),
    ("MOPS Options", 0x9e00_0000, 0, 0xf << 19, |v| mops(v).options().into()),
    ("step EX", 0xcb00_0022, ISV, 1 << 6, |v| step(v).stepped_exclusive().unwrap().into()),
    ("step ISV", 0xca00_0022, 0, 1 << 24, |v| step(v).stepped_exclusive().is_some().into()),
    ("watch WnR", 0xd200_0022, 0, 1 << 6, |v| watch(v).is_write().into()),
    ("watch CM", 0xd200_0022, 0, 1 << 8, |v| watch(v).is_cache_maintenance().into()),
    ("watch FnV", 0xd200_0022, 0, 1 << 10, |v| watch(v).address(ADDRESS).is_none().into()),
    ("watch FnP", 0xd200_0022, 0, 1 << 15, |v| watch(v).far_not_precise().into()),
    ("watch WPF", 0xd200_0022, 0, 1 << 16, |v| watch(v).maybe_false_positive().into()),
    ("watch WPTV", 0xd200_0022, 0, 1 << 17, |v| watch(v).number().is_some().into()),
    ("watch WPT", 0xd202_0022, 1 << 17, 0x3f << 18, |v| watch(v).number().unwrap().into()),
    ("sysreg Direction", 0x6200_0000, 0, 1, |v| sysreg(v).is_read().into()),
    ("sysreg CRm", 0x6200_0000, 0, 0xf << 1, |v| sysreg(v).target().crm.into()),
    ("sysreg Rt", 0x6200_0000, 0, 0x1f << 5, |v| sysreg(v).register().into()),
    ("sysreg CRn", 0x6200_0000, 0, 0xf << 10, |v| sysreg(v).target().crn.into()),
    ("sysreg Op1", 0x6200_0000, 0, 0x7 << 14, |v| sysreg(v).target().op1.into()),
    ("sysreg Op2", 0x6200_0000, 0, 0x7 << 17, |v| sysreg(v).target().op2.into()),
    ("sysreg Op0", 0x6200_0000, 0, 0x3 << 20, |v| sysreg(v).target().op0.into()),
];

#[test]
fn every_field_is_read_from_its_own_bits() {
    for &(name, base, depends_on, bits, read) in FIELDS {
        let low = bits.trailing_zeros();
        let others = SYNDROME_BITS & !bits & !depends_on;
        assert_eq!(read(base & !bits), 0, "{name}: clear");
        assert_eq!(read(base & !bits | others), 0, "{name}: all but the field");
        for at in (0..64).filter(|at| bits >> at & 1 == 1) {
            let value = 1 << (at - low);
            assert_eq!(read(base & !bits | 1 << at), value, "{name}: bit {at}");
            assert_eq!(
                read(base & !bits | 1 << at | others),
                value,
                "{name}: bit {at}"
            );
        }
        assert_eq!(read(base | bits), bits >> low, "{name}: all set");
    }
}

#[test]
fn pstate_masks_are_those_of_spsr() {
    let masks = [
        (Pstate::UINJ, 0x10_0000_0000),
        (Pstate::PACM, 0x08_0000_0000),
        (Pstate::EXLOCK, 0x04_0000_0000),
        (Pstate::PPEND, 0x02_0000_0000),
        (Pstate::PM, 0x01_0000_0000),
        (Pstate::NZCV, 0xf000_0000),
        (Pstate::TCO, 0x0200_0000),
        (Pstate::DIT, 0x0100_0000),
        (Pstate::UAO, 0x0080_0000),
        (Pstate::PAN, 0x0040_0000),
        (Pstate::SS, 0x0020_0000),
        (Pstate::IL, 0x0010_0000),
        (Pstate::ALLINT, 0x0000_2000),
        (Pstate::SSBS, 0x0000_1000),
        (Pstate::BTYPE, 0x0000_0c00),
        (Pstate::DAIF, 0x0000_03c0),
        (Pstate::MODE, 0x0000_001f),
    ];
    for (mask, literal) in masks {
        assert_eq!(mask, literal);
    }
}
